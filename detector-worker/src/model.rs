//! What a detector is: pictures in, what was seen on each out.
//!
//! A detector lives on one thread, which opens it through the [registry](crate::registry), owns its session and calls
//! [`Detector::detect`] from outside any async runtime. Every picture of a batch has an answer of its own, so one bad
//! picture spoils no other. Answers are pixels of the upright original, whatever the network was shown.
//!
//! A detector over an ONNX file is a [`onnx::Head`] (one file here) and an entry in `models.yaml`; all that
//! detectors have in common, from scaling to non-maximum suppression, is in [`onnx`].

pub mod centerface;
pub mod http;
pub mod nms;
pub mod onnx;
pub mod prepare;
pub mod yunet;

use std::sync::Arc;

use bytes::Bytes;
use contracts::{BoundingBox, Detection, DetectorName, FailureCode, Point};

use crate::image::Image;

/// A picture on its way through a detector.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The decoded, upright picture.
    pub image: Image,
    /// The bytes it came as, for a detector that is an engine elsewhere.
    pub encoded: Bytes,
    /// What `encoded` is, such as `image/jpeg`.
    pub media_type: &'static str,
}

/// What one detector says of one picture: nothing found is an empty list.
pub type Outcome = Result<Vec<Detection>, DetectError>;

/// A model with its pre- and post-processing, owned by one thread.
pub trait Detector: Send {
    /// The detector's name, such as `face`.
    fn name(&self) -> &DetectorName;

    /// The model's name in `models.yaml`, such as `yunet_n`.
    fn model(&self) -> &str;

    /// How many pictures a call can use at once; more are worked off in several rounds.
    fn max_batch(&self) -> usize;

    /// Looks at every picture; the answers stand in the pictures' order, as many as there are pictures. Blocks.
    fn detect(&mut self, batch: &[Arc<Picture>]) -> Vec<Outcome>;
}

/// Why a picture got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectError {
    /// The network did not run, for want of memory or a device; worth another try.
    #[error("inference failed: {0}")]
    Inference(String),
    /// The engine could not be reached, was too slow or overloaded; worth another try.
    #[error("the engine is unavailable: {0}")]
    Unavailable(String),
    /// The engine refused this very picture, or its answer makes no sense; it would again.
    #[error("the engine refused the picture: {0}")]
    Refused(String),
}

impl DetectError {
    /// What the failed result says, where the same picture can never succeed; `None` where it is worth another try.
    pub fn failure(&self) -> Option<FailureCode> {
        match self {
            Self::Refused(_) => Some(FailureCode::Rejected),
            Self::Inference(_) | Self::Unavailable(_) => None,
        }
    }
}

/// Cuts a detection to the picture and to the digits worth keeping: four for scores, two for pixels.
///
/// `None` where nothing of its box lies in the picture. Landmarks may lie outside: a mouth below the edge is still a mouth.
fn tidy(candidate: &nms::Candidate, label: &str, width: u32, height: u32) -> Option<Detection> {
    let edge = |value: f32, limit: u32| hundredths(f64::from(value).clamp(0.0, f64::from(limit)));
    let (left, right) = (edge(candidate.left, width), edge(candidate.right, width));
    let (top, bottom) = (edge(candidate.top, height), edge(candidate.bottom, height));
    if right <= left || bottom <= top {
        return None;
    }
    let bounds = BoundingBox { x: left, y: top, width: hundredths(right - left), height: hundredths(bottom - top) };
    Some(Detection {
        label: label.to_owned(),
        confidence: (f64::from(candidate.score).clamp(0.0, 1.0) * 1e4).round() / 1e4,
        bounds: Some(bounds),
        landmarks: candidate
            .landmarks
            .iter()
            .map(|&(x, y)| Point { x: hundredths(f64::from(x)), y: hundredths(f64::from(y)) })
            .collect(),
        vehicle: contracts::Vehicle::default(),
    })
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::nms::Candidate;
    use super::*;

    #[test]
    fn boxes_end_at_the_edge_of_the_picture_and_those_outside_are_dropped() {
        let candidate = |left, top, right, bottom| Candidate {
            score: 0.912_345,
            left,
            top,
            right,
            bottom,
            landmarks: vec![(101.239, -3.0)],
        };
        let seen = tidy(&candidate(-5.0, 90.0, 20.004, 130.0), "face", 100, 100).unwrap();
        assert_eq!(seen.bounds, Some(BoundingBox { x: 0.0, y: 90.0, width: 20.0, height: 10.0 }));
        assert_eq!((seen.confidence, seen.landmarks), (0.9123, vec![Point { x: 101.24, y: -3.0 }]));
        assert!(tidy(&candidate(100.0, 0.0, 120.0, 10.0), "face", 100, 100).is_none());
    }
}
