//! Fuzz targets of the parsers, with the properties that hold for any input. `scripts/fuzz` runs them on generated inputs, the tests
//! below on those in `fuzz/corpus`. Compiled only for these two.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    AlertEvent, AlertId, DeadLetter, DetectionId, DetectorName, Event, FaceUpload, FaceVerifiedEvent, FrameEvent,
    FrameId, Headers, MediaProgressEvent, MediaTaskEvent, Message, Outcome, ResultEvent, RuleId, StreamName, TenantId,
    TopicRole, Topics, vehicle,
};
use reason::assert_clean;

#[path = "../../../fuzz/reason.rs"]
mod reason;

/// Decodes a message, in the form of the golden files (`key: …`, headers, an empty line, the payload), as each event. A decoded
/// event round-trips.
pub fn events(data: &[u8]) {
    let message = message(data);
    assert_round_trip::<FrameEvent>(&message);
    assert_round_trip::<AlertEvent>(&message);
    assert_round_trip::<FaceVerifiedEvent>(&message);
    assert_round_trip::<FaceUpload>(&message);
    assert_round_trip::<MediaTaskEvent>(&message);
    assert_round_trip::<MediaProgressEvent>(&message);
    if let Some(result) = assert_round_trip::<ResultEvent>(&message) {
        assert_valid(&result);
    }
    match DeadLetter::from_message(&message) {
        Ok(letter) => {
            let written = letter.to_message();
            assert_eq!(DeadLetter::from_message(&written).as_ref(), Ok(&letter));
            // A redrive sends the original message.
            assert_eq!(letter.original.value, message.value);
            assert_eq!(letter.original.key, message.key);
        }
        Err(error) => assert_clean(&error),
    }
}

/// Parses the plain JSON of an external producer. A parsed vehicle is a valid result that round-trips.
pub fn vehicle(data: &[u8]) {
    let frame = FrameId::from_position("topic", 0, 7);
    match vehicle::from_external(data, frame, TenantId::shared(), Timestamp::UNIX_EPOCH) {
        Ok(external) => {
            assert_valid(&external.result);
            let read = ResultEvent::from_message(&external.result.to_message());
            assert_eq!(read.as_ref(), Ok(&external.result));
        }
        Err(error) => assert_clean(&error),
    }
}

/// Parses ids and names. A parsed value round-trips.
pub fn ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert_text_round_trip::<FrameId>(text);
    assert_text_round_trip::<RuleId>(text);
    assert_text_round_trip::<AlertId>(text);
    assert_text_round_trip::<DetectionId>(text);
    assert_text_round_trip::<TenantId>(text);
    assert_text_round_trip::<StreamName>(text);
    assert_text_round_trip::<DetectorName>(text);
    assert_text_round_trip::<TopicRole>(text);
    if let Ok(id) = FrameId::from_idempotency_key(&TenantId::shared(), text) {
        assert!([7, 8].contains(&id.uuid().get_version_num()), "{id}");
        assert_eq!(FrameId::from_idempotency_key(&TenantId::shared(), text), Ok(id));
        assert_ne!(FrameId::from_idempotency_key(&TenantId::admin(), text), Ok(id));
    }
}

/// Parses a `topics.yaml`. Parsed topics have every role, and round-trip.
pub fn topics(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Topics::parse(text).map(|topics| topics.with_audio(true)) {
        Ok(topics) => {
            assert!(TopicRole::ALL.into_iter().all(|role| topics.get(role).role == role));
            let file = serde_json::json!({ "topics": topics.iter().collect::<Vec<_>>() });
            let again = Topics::parse(&file.to_string()).map(|topics| topics.with_audio(true));
            assert!(again.is_ok_and(|again| again.iter().eq(topics.iter())));
        }
        Err(error) => assert_clean(&error),
    }
}

/// Parses a message in the form of the golden files.
fn message(text: &[u8]) -> Message {
    let end = text.windows(2).position(|pair| pair == b"\n\n");
    let (head, value) = end.map_or((text, &b""[..]), |end| (&text[..end], &text[end + 2..]));
    let mut headers = Headers::new();
    let mut key = None;
    for line in head.split(|byte| *byte == b'\n') {
        let colon = line.windows(2).position(|pair| pair == b": ");
        let (name, value) = colon.map_or((line, &b""[..]), |colon| (&line[..colon], &line[colon + 2..]));
        match name {
            b"key" => key = Some(Bytes::copy_from_slice(value)),
            name => headers.push(String::from_utf8_lossy(name).into_owned(), Bytes::copy_from_slice(value)),
        }
    }
    Message { key, headers, value: Bytes::copy_from_slice(value.strip_suffix(b"\n").unwrap_or(value)) }
}

fn assert_round_trip<E: Event + PartialEq + Debug>(message: &Message) -> Option<E> {
    let event = E::from_message(message).inspect_err(assert_clean).ok()?;
    let written = event.to_message();
    let read = E::from_message(&written);
    assert_eq!(read.as_ref(), Ok(&event));
    assert_eq!(read.map(|event| event.to_message()), Ok(written), "encoding is deterministic");
    Some(event)
}

fn assert_valid(result: &ResultEvent) {
    if let Outcome::Ok { detections, .. } = &result.data.outcome {
        assert!(detections.iter().all(|detection| detection.check().is_ok()));
    }
}

fn assert_text_round_trip<T: FromStr<Err: Debug + Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>().ok(), Some(value)),
        Err(error) => assert_clean(&error),
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn any_message_is_decoded_or_refused() {
        replay("events", super::events);
    }

    #[test]
    fn any_foreign_json_is_parsed_or_refused() {
        replay("vehicle", super::vehicle);
    }

    #[test]
    fn parsed_ids_round_trip() {
        replay("ids", super::ids);
    }

    #[test]
    fn any_topics_file_is_parsed_or_refused() {
        replay("topics", super::topics);
    }
}
