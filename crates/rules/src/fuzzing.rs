//! What must hold for whatever somebody writes as a condition: the body of the fuzz target, run by `scripts/fuzz` over
//! inputs it makes up and by the test below over those that are kept in `fuzz/corpus`. Built for these two only.

use contracts::{Attributes, BoundingBox, Detection, DetectorName, FrameId, StreamName, Vehicle};
use jiff::Timestamp;

use crate::{Condition, DetectionSubject, Error, MAX_SOURCE_BYTES, Subject};
use reason::assert_clean;

#[path = "../../../fuzz/reason.rs"]
mod reason;

/// A condition: refused with a reason, or compiled into one that answers yes or no to every detection, or that its
/// arithmetic does not work out; and always the same.
pub fn rules(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let condition = match Condition::compile(source) {
        Ok(condition) => condition,
        Err(error) => return assert_clean(&error),
    };
    assert_eq!(condition.source(), source);
    assert!(source.len() <= MAX_SOURCE_BYTES);
    let again = Condition::compile(source);
    assert!(again.is_ok(), "{source:?} compiled once: {again:?}");
    let Ok(detector) = "face".parse::<DetectorName>() else { return };
    let stream = "gate-1".parse::<StreamName>().ok();
    for (detection, captured_at) in detections() {
        for (stream, side) in [(None, 0), (stream.as_ref(), u32::MAX)] {
            let subject = Subject::Detection(DetectionSubject {
                frame_id: FrameId::from_position("topic", 0, 7),
                detection: &detection,
                stream,
                detector: &detector,
                width: side,
                height: side,
                captured_at,
            });
            match condition.matches(&subject) {
                Ok(_) => {}
                Err(error @ Error::Evaluation(_)) => assert_clean(&error),
                Err(error) => assert!(matches!(error, Error::Evaluation(_)), "{source:?} was checked: {error}"),
            }
            let answers = again.iter().map(|again| again.matches(&subject));
            assert!(answers.into_iter().all(|answer| answer == condition.matches(&subject)), "{source:?}");
        }
    }
}

/// As little as there can be, something of everything, and as much as there can be.
fn detections() -> [(Detection, Timestamp); 3] {
    let bare = Detection {
        label: "x".to_owned(),
        confidence: 0.0,
        bounds: None,
        landmarks: Vec::new(),
        attributes: Attributes::default(),
    };
    let usual = Detection {
        label: "face".to_owned(),
        confidence: 0.875,
        bounds: Some(BoundingBox { x: 10.0, y: 20.0, width: 30.0, height: 40.5 }),
        ..bare.clone()
    };
    let text = |length: usize| Some("\u{1F697}".repeat(length));
    let extreme = Detection {
        label: text(64).unwrap_or_default(),
        confidence: 1.0,
        bounds: Some(BoundingBox { x: f64::MIN, y: f64::MAX, width: f64::MAX, height: f64::MIN_POSITIVE }),
        landmarks: Vec::new(),
        attributes: Vehicle { category: text(128), make: text(128), model: text(128), year: Some(i32::MIN) }.into(),
    };
    [(bare, Timestamp::MIN), (usual, Timestamp::UNIX_EPOCH), (extreme, Timestamp::MAX)]
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn whatever_is_written_as_a_condition_is_answered_or_refused() {
        replay("rules", super::rules);
    }
}
