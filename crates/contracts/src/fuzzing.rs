//! What must hold for whatever bytes arrive: the bodies of the fuzz targets, run by `scripts/fuzz` over inputs it makes up
//! and by the tests below over those that are kept in `fuzz/corpus`. Built for these two only.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    AlertEvent, AlertId, DeadLetter, DetectionId, DetectorName, Event, FrameEvent, FrameId, Headers, Message, Outcome,
    ResultEvent, RuleId, StreamName, TenantId, TopicRole, Topics, vehicle,
};
use reason::assert_clean;

#[path = "../../../fuzz/reason.rs"]
mod reason;

/// A message as the golden files write it (`key: …`, headers, an empty line, the payload) read as every event there is:
/// what reads as one is written as what reads the same.
pub fn events(data: &[u8]) {
    let message = message(data);
    holds::<FrameEvent>(&message);
    holds::<AlertEvent>(&message);
    if let Some(result) = holds::<ResultEvent>(&message) {
        assert_sound(&result);
    }
    match DeadLetter::from_message(&message) {
        Ok(letter) => {
            let written = letter.to_message();
            assert_eq!(DeadLetter::from_message(&written).as_ref(), Ok(&letter));
            // Sent again, it is the message that it was.
            assert_eq!(letter.original.value, message.value);
            assert_eq!(letter.original.key, message.key);
        }
        Err(error) => assert_clean(&error),
    }
}

/// The bare JSON of a foreign producer: what reads as a vehicle is a sound result that travels like any other.
pub fn vehicle(data: &[u8]) {
    let frame = FrameId::from_position("topic", 0, 7);
    match vehicle::from_foreign(data, frame, TenantId::shared(), Timestamp::UNIX_EPOCH) {
        Ok(foreign) => {
            assert_sound(&foreign.result);
            let read = ResultEvent::from_message(&foreign.result.to_message());
            assert_eq!(read.as_ref(), Ok(&foreign.result));
        }
        Err(error) => assert_clean(&error),
    }
}

/// Ids and names: what reads as one is written as what reads the same.
pub fn ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    reads_back::<FrameId>(text);
    reads_back::<RuleId>(text);
    reads_back::<AlertId>(text);
    reads_back::<DetectionId>(text);
    reads_back::<TenantId>(text);
    reads_back::<StreamName>(text);
    reads_back::<DetectorName>(text);
    reads_back::<TopicRole>(text);
    if let Ok(id) = FrameId::from_idempotency_key(&TenantId::shared(), text) {
        assert!([7, 8].contains(&id.uuid().get_version_num()), "{id}");
        assert_eq!(FrameId::from_idempotency_key(&TenantId::shared(), text), Ok(id));
        assert_ne!(FrameId::from_idempotency_key(&TenantId::admin(), text), Ok(id));
    }
}

/// A `topics.yaml`: what reads has every role, and reads the same when it is written.
pub fn topics(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Topics::parse(text) {
        Ok(topics) => {
            assert!(TopicRole::ALL.into_iter().all(|role| topics.get(role).role == role));
            let file = serde_json::json!({ "topics": topics.iter().collect::<Vec<_>>() });
            let again = Topics::parse(&file.to_string());
            assert!(again.is_ok_and(|again| again.iter().eq(topics.iter())));
        }
        Err(error) => assert_clean(&error),
    }
}

/// Reads a message out of a text such as the golden files have.
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

fn holds<E: Event + PartialEq + Debug>(message: &Message) -> Option<E> {
    let event = E::from_message(message).inspect_err(assert_clean).ok()?;
    let written = event.to_message();
    let read = E::from_message(&written);
    assert_eq!(read.as_ref(), Ok(&event));
    assert_eq!(read.map(|event| event.to_message()), Ok(written), "there is one way to write it");
    Some(event)
}

fn assert_sound(result: &ResultEvent) {
    if let Outcome::Ok { detections, .. } = &result.data.outcome {
        assert!(detections.iter().all(|detection| detection.check().is_ok()));
    }
}

fn reads_back<T: FromStr<Err: Debug + Display> + Display + PartialEq + Debug>(text: &str) {
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
    fn whatever_arrives_as_an_event_is_read_or_refused() {
        replay("events", super::events);
    }

    #[test]
    fn whatever_a_foreign_producer_sends_is_read_or_refused() {
        replay("vehicle", super::vehicle);
    }

    #[test]
    fn whatever_text_is_an_id_is_written_as_it_was_read() {
        replay("ids", super::ids);
    }

    #[test]
    fn whatever_topics_are_written_down_make_sense_or_are_refused() {
        replay("topics", super::topics);
    }
}
