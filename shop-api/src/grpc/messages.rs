//! The body of a request, whose messages are checked by their lengths before they are read.
//!
//! A message is one byte (whether it is compressed), its length in four, and its bytes. Guarantees: a message above the limit is refused
//! when its length has arrived; the bytes of the messages that are being received are bounded, in all calls together and in those of one
//! tenant, so clients without a credential keep no users out; a body that ends within a message, and one without a message where there
//! must be one, is refused; a stream that its client cancels fails. tonic takes an error with the code `CANCELLED` for the end of the
//! stream, and hyper one kind of reset: half of an upload would look like a whole one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use api_kit::shares::{NotFree, Shares, Units};
use axum::BoxError;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use platform::http::TooSlow;

use super::status::{GrpcError, status_of};

/// Bytes before a message.
const HEAD: usize = 5;

/// The bytes of all messages that are being received, of which a tenant has a share.
#[derive(Clone)]
pub struct MessageBytes {
    shares: Arc<Shares>,
    tenant: Option<String>,
}

impl MessageBytes {
    /// Room for `bytes`, a quarter of it for each tenant. The largest message has `largest`.
    pub fn new(bytes: usize, largest: usize) -> Self {
        let gauge = metrics::gauge!("sightline_grpc_bytes_in_flight");
        Self { shares: Shares::new(bytes, (bytes / 4).max(largest), gauge), tenant: None }
    }

    /// The same room, for messages of this tenant; `None` for those of a call without a credential.
    pub fn of(&self, tenant: Option<&str>) -> Self {
        Self { shares: Arc::clone(&self.shares), tenant: tenant.map(str::to_owned) }
    }

    /// Room for a message, until the value is dropped.
    fn take(&self, length: usize) -> Result<Units, GrpcError> {
        self.shares.take(self.tenant.as_deref(), length).map_err(|not_free| match not_free {
            NotFree::OfTenant => GrpcError::ShareInUse,
            NotFree::OfAll => GrpcError::Busy,
        })
    }
}

/// What the body of a request may be.
pub struct Rules {
    /// Largest message, in bytes.
    pub limit: usize,
    /// Whether the client may send no message at all.
    pub may_be_empty: bool,
    /// Whether the body says whether the client has ended it: that of HTTP/2 does.
    pub knows_end: bool,
}

/// The body of a request by the `rules`. It fails with a status.
pub fn checked(body: Body, rules: Rules, bytes: MessageBytes) -> Body {
    Body::new(CheckedBody { body: Some(body), messages: Messages::new(rules.limit, bytes), rules })
}

struct CheckedBody {
    /// `None` after a failure.
    body: Option<Body>,
    messages: Messages,
    rules: Rules,
}

impl HttpBody for CheckedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(body).poll_frame(context)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) if TooSlow::caused(&error) => return self.failed(GrpcError::TooSlow),
            Some(Err(_)) => return self.failed(GrpcError::Disconnected),
            None => return self.ended(),
        };
        match frame.data_ref().map_or(Ok(()), |data| self.messages.read(data)) {
            Ok(()) => Poll::Ready(Some(Ok(frame))),
            Err(error) => self.failed(error),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl CheckedBody {
    /// The end of the body, if it may end here.
    fn ended(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.rules.knows_end && !HttpBody::is_end_stream(self) {
            return self.failed(GrpcError::Disconnected);
        }
        let is_missing = self.messages.begun == 0 && !self.rules.may_be_empty;
        if is_missing || self.messages.is_cut() {
            return self.failed(GrpcError::Malformed);
        }
        Poll::Ready(None)
    }

    /// Reads no more of the body.
    fn failed(&mut self, error: GrpcError) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.body = None;
        Poll::Ready(Some(Err(status_of(error).into())))
    }
}

/// Where the messages of a body begin.
pub struct Messages {
    limit: usize,
    bytes: MessageBytes,
    /// What has arrived of the bytes before a message.
    head: Vec<u8>,
    /// What is missing of the message.
    left: usize,
    /// Number of messages that have begun.
    begun: u64,
    /// Room for the message. It is kept until the next one begins, because the whole one is in memory until then.
    room: Option<Units>,
}

impl Messages {
    /// Those of a body that has not begun, each of at most `limit` bytes.
    pub const fn new(limit: usize, bytes: MessageBytes) -> Self {
        Self { limit, bytes, head: Vec::new(), left: 0, begun: 0, room: None }
    }

    /// The number of messages that have begun.
    #[cfg(any(test, fuzzing))]
    pub const fn begun(&self) -> u64 {
        self.begun
    }

    /// Reads the next piece of the body.
    pub fn read(&mut self, mut data: &[u8]) -> Result<(), GrpcError> {
        while !data.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(data.len());
                self.left -= taken;
                data = &data[taken..];
                continue;
            }
            let (head, rest) = data.split_at(data.len().min(HEAD - self.head.len()));
            self.head.extend_from_slice(head);
            data = rest;
            if let [_, length @ ..] = self.head.as_slice()
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.begin(u32::from_be_bytes(length) as usize)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, length: usize) -> Result<(), GrpcError> {
        if length > self.limit {
            return Err(GrpcError::MessageTooLarge { length, limit: self.limit });
        }
        // First the room of the message before: the handler has it now.
        self.room = None;
        self.room = Some(self.bytes.take(length)?);
        self.head.clear();
        self.left = length;
        self.begun += 1;
        Ok(())
    }

    /// Whether a part of a message has not arrived.
    pub const fn is_cut(&self) -> bool {
        self.left > 0 || !self.head.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(limit: usize, bytes: &MessageBytes) -> Messages {
        Messages::new(limit, bytes.clone())
    }

    fn room(bytes: usize) -> MessageBytes {
        MessageBytes::new(bytes, 1)
    }

    fn message(length: u32) -> Vec<u8> {
        let body = vec![7; length as usize];
        [&[0][..], &length.to_be_bytes(), &body].concat()
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let sent = [message(3), message(0), message(1000), message(1)].concat();
        for size in [1, 2, 4, 5, 6, 7, 100, sent.len()] {
            let bytes = room(1 << 20);
            let mut messages = messages(1000, &bytes);
            for piece in sent.chunks(size) {
                messages.read(piece).unwrap();
            }
            assert!(messages.begun == 4 && !messages.is_cut(), "pieces of {size}");
        }
    }

    #[test]
    fn a_message_is_refused_by_its_length() {
        let bytes = room(1 << 20);
        let refused = messages(1000, &bytes).read(&message(1001)[..HEAD]);
        assert!(matches!(refused, Err(GrpcError::MessageTooLarge { length: 1001, limit: 1000 })));
    }

    #[test]
    fn messages_in_memory_are_bounded_in_all() {
        let bytes = MessageBytes::new(2000, 1000);
        let of = |tenant| messages(1000, &bytes.of(Some(tenant)));
        let (mut one, mut other, mut third) = (of("a"), of("b"), of("c"));
        let head = message(1000)[..HEAD].to_vec();
        one.read(&head).unwrap();
        other.read(&head).unwrap();
        assert!(matches!(third.read(&head), Err(GrpcError::Busy)));
        drop(other);
        assert!(of("c").read(&head).is_ok());
    }

    #[test]
    fn calls_without_a_credential_keep_no_users_out() {
        let bytes = room(4000);
        let head = message(1000)[..HEAD].to_vec();
        let mut held = Vec::new();
        let refused = loop {
            let mut anonymous = messages(1000, &bytes);
            match anonymous.read(&head) {
                Ok(()) => held.push(anonymous),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, GrpcError::ShareInUse), "{refused}");
        assert_eq!(held.len(), 2, "half of the room");
        assert!(messages(1000, &bytes.of(Some("ann"))).read(&head).is_ok());
    }
}
