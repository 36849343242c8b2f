//! Body of the fuzz target `grpc_bodies`: invariants for any body of a call and any deadline. `scripts/fuzz` runs it on generated inputs,
//! the test below on the inputs in `fuzz/corpus`. Only these two builds compile it.

use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;

use super::deadline::Deadline;
use super::messages::{MessageBytes, Messages};
use crate::proto::auth_v1::{SignInRequest, ValidateTokenResponse};
use crate::proto::shop_v1::{
    Audiobook, CreateAudiobookRequest, ListAudiobooksRequest, PutPositionRequest, UpdateAudiobookRequest, UploadChunk,
};

/// Largest message. Small, so that inputs reach the bound.
const LIMIT: usize = 200;

/// Input: a byte for the size of the pieces, then the body. Asserts that the messages are the same however the body is cut, that none is
/// larger than the limit, and that a message that can be read is the same after it was written.
pub fn grpc_bodies(data: &[u8]) {
    timeout(data);
    let Some((size, body)) = data.split_first() else { return };
    let (whole, cut) = (read(body, body.len().max(1)), read(body, usize::from(*size).max(1)));
    assert_eq!(whole, cut, "the pieces change what the body is");
    let Ok((count, _)) = whole else { return };
    let messages = messages(body);
    assert_eq!(count, messages.len() as u64, "a message is missed");
    for message in messages {
        assert!(message.len() <= LIMIT);
        is_stable::<SignInRequest>(message);
        is_stable::<ValidateTokenResponse>(message);
        is_stable::<UploadChunk>(message);
        is_stable::<ListAudiobooksRequest>(message);
        is_stable::<CreateAudiobookRequest>(message);
        is_stable::<UpdateAudiobookRequest>(message);
        is_stable::<PutPositionRequest>(message);
        is_stable::<Audiobook>(message);
    }
}

/// The number of messages, and whether the last one is cut; or why the body is refused.
fn read(body: &[u8], size: usize) -> Result<(u64, bool), String> {
    let mut messages = Messages::new(LIMIT, MessageBytes::new(1 << 20, LIMIT));
    for piece in body.chunks(size) {
        messages.read(piece).map_err(|error| error.to_string())?;
    }
    Ok((messages.begun(), messages.is_cut()))
}

/// The messages of a body, as far as they have arrived.
fn messages(mut body: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((head, rest)) = body.split_at_checked(5) {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (message, rest) = rest.split_at(length.min(rest.len()));
        found.push(message);
        body = rest;
    }
    found
}

fn is_stable<M: Message + Default + PartialEq>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let written = message.encode_to_vec();
        assert!(M::decode(written.as_slice()).is_ok_and(|again| again == message));
    }
}

/// A deadline is at most the longest one that the header can name.
fn timeout(text: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(text) else { return };
    let headers = HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), value)]);
    if let Ok(deadline) = Deadline::of(&headers) {
        assert!(deadline.left().is_none_or(|left| left.as_secs() <= 99_999_999 * 3600));
    }
}

#[cfg(test)]
mod tests {
    use crate::replay::replay;

    #[test]
    fn every_body_is_messages_or_refused() {
        replay("grpc_bodies", super::grpc_bodies);
    }
}
