//! The codec of messages. It is that of prost, except that bytes which are no message are the client's error: prost calls them an error of
//! the service.

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::status::{GrpcError, status_of};

/// The codec of a method, as the generated code names it.
#[derive(Debug, Clone)]
pub struct MessageCodec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for MessageCodec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> Codec for MessageCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = MessageDecoder<U>;

    fn encoder(&mut self) -> ProstEncoder<T> {
        self.0.encoder()
    }

    fn decoder(&mut self) -> MessageDecoder<U> {
        MessageDecoder(self.0.decoder())
    }
}

/// Reads messages.
#[derive(Debug, Clone)]
pub struct MessageDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for MessageDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        self.0.decode(bytes).map_err(|_| status_of(GrpcError::Malformed))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}
