//! Fuzz target of conditions, with the properties that hold for any text. `scripts/fuzz` runs it on generated inputs, the test below on
//! those in `fuzz/corpus`. Compiled only for these two.

use contracts::{Attributes, BoundingBox, Detection, DetectorName, FrameId, StreamName, Vehicle};
use jiff::Timestamp;

use crate::{Condition, DetectionSubject, Error, MAX_SOURCE_BYTES, NO_WATCHLISTS, Subject};
use reason::assert_clean;

#[path = "../../../fuzz/reason.rs"]
mod reason;

/// Compiles a text. It is refused with a reason, or gives a condition that for every detection returns true, false or an arithmetic
/// error, deterministically.
pub fn rules(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let condition = match Condition::compile(source) {
        Ok(condition) => condition,
        Err(error) => return assert_clean(&error),
    };
    assert_eq!(condition.source(), source);
    assert!(source.len() <= MAX_SOURCE_BYTES);
    let again = Condition::compile(source);
    assert!(again.is_ok(), "{source:?} compiles only once: {again:?}");
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
                watchlists: &NO_WATCHLISTS,
            });
            match condition.matches(&subject) {
                Ok(_) => {}
                Err(error @ Error::Evaluation(_)) => assert_clean(&error),
                Err(error) => assert!(matches!(error, Error::Evaluation(_)), "{source:?} passed the check: {error}"),
            }
            let answers = again.iter().map(|again| again.matches(&subject));
            assert!(answers.into_iter().all(|response| response == condition.matches(&subject)), "{source:?}");
        }
    }
}

/// Detections with minimal, usual and maximal values.
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
    fn any_condition_is_evaluated_or_refused() {
        replay("rules", super::rules);
    }
}
