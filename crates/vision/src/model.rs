//! Detectors: images in, the findings of each image out.
//!
//! A detector lives on one thread, which opens it through the [registry](crate::registry), owns its session and calls
//! [`Detector::detect`] outside any async runtime. Every image of a batch has its own outcome, so a bad image does not fail
//! its neighbours. Coordinates are pixels of the upright original, whatever size the network's input has.
//!
//! A detector with an ONNX file consists of a head and an entry of `models.yaml`. The common parts of such detectors, from scaling to
//! non-maximum suppression, are in `onnx`. Further networks may run on the crops of the boxes found (`two_stage`).

pub(crate) mod align;
mod centerface;
pub(crate) mod crop_head;
pub(crate) mod crops;
pub(crate) mod embedding;
pub(crate) mod head;
pub(crate) mod http;
mod network;
mod nms;
pub(crate) mod onnx;
mod picodet;
pub(crate) mod prepare;
mod second_look;
pub(crate) mod two_stage;
mod vehicle_attributes;
mod yolox;
mod yunet;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use contracts::{BoundingBox, Detection, DetectorName, FailureCode, Point};

use crate::pixels::Pixels;

pub use embedding::FaceEmbedding;

/// An image as detectors receive it.
#[derive(Debug, Clone)]
pub struct Image {
    /// The decoded, upright pixels.
    pub pixels: Pixels,
    /// The encoded bytes as the client sent them, for an engine behind HTTP.
    pub encoded: Bytes,
    /// Media type of `encoded`, such as `image/jpeg`.
    pub media_type: &'static str,
    /// Whether embeddings of its faces are needed. Otherwise no model for them runs.
    pub embed_faces: bool,
}

/// Everything that a detector found in one image.
#[derive(Clone, Default, PartialEq)]
pub struct Findings {
    /// Boxes, the most confident first.
    pub detections: Vec<Detection>,
    /// Embeddings of faces, each of length 1, by the index of the detection. Only of a detector that was opened with an embedding model.
    ///
    /// They identify people, so they must not leave the process except into a gallery.
    pub embeddings: BTreeMap<usize, Vec<f32>>,
}

/// Without embeddings: they must not reach a log.
impl fmt::Debug for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { detections, embeddings } = self;
        formatter
            .debug_struct("Findings")
            .field("detections", detections)
            .field("embeddings", &embeddings.len())
            .finish()
    }
}

impl Findings {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.detections.is_empty()
    }
}

impl From<Vec<Detection>> for Findings {
    fn from(detections: Vec<Detection>) -> Self {
        Self { detections, embeddings: BTreeMap::new() }
    }
}

/// The result of a detector for one image.
pub type Outcome = Result<Findings, DetectError>;

/// A model with its pre- and post-processing, owned by one thread.
pub trait Detector: Send {
    /// The detector's name, such as `face`.
    fn name(&self) -> &DetectorName;

    /// The model's name in `models.yaml`, such as `yunet_n`.
    fn model(&self) -> &str;

    /// Number of images that one call processes at once. A call with more images processes them in several rounds.
    fn max_batch(&self) -> usize;

    /// Detects in every image. Returns one outcome per image, in the order of the images. Blocks.
    fn detect(&mut self, batch: &[Arc<Image>]) -> Vec<Outcome>;

    /// Releases memory that earlier calls needed. Called when there is no work.
    fn release_memory(&mut self) {}
}

/// Why a detector has no result for an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetectError {
    /// The network did not run, for example for lack of memory. Transient.
    #[error("inference failed: {0}")]
    Inference(String),
    /// The engine is unreachable, too slow or overloaded. Transient.
    #[error("the engine is unavailable: {0}")]
    Unavailable(String),
    /// The engine rejected this image, or its response is invalid. Permanent.
    #[error("the engine refused the image: {0}")]
    Rejected(String),
}

impl DetectError {
    /// The failure code of a permanent error; `None` for a transient one, which is retried.
    pub fn failure_code(&self) -> Option<FailureCode> {
        match self {
            Self::Rejected(_) => Some(FailureCode::Rejected),
            Self::Inference(_) | Self::Unavailable(_) => None,
        }
    }
}

/// Converts a candidate into a detection: clipped to the image, scores rounded to four digits and coordinates to two.
///
/// `None` when no part of the box is in the image. Landmarks are not clipped, so they may be outside of the image.
fn to_detection(candidate: &nms::Candidate, label: &str, width: u32, height: u32) -> Option<Detection> {
    let clip = |value: f32, limit: u32| round_to_hundredths(f64::from(value).clamp(0.0, f64::from(limit)));
    let (left, right) = (clip(candidate.left, width), clip(candidate.right, width));
    let (top, bottom) = (clip(candidate.top, height), clip(candidate.bottom, height));
    if right <= left || bottom <= top {
        return None;
    }
    let bounds = BoundingBox {
        x: left,
        y: top,
        width: round_to_hundredths(right - left),
        height: round_to_hundredths(bottom - top),
    };
    let point =
        |&(x, y): &(f32, f32)| Point { x: round_to_hundredths(f64::from(x)), y: round_to_hundredths(f64::from(y)) };
    Some(Detection {
        label: label.to_owned(),
        confidence: (f64::from(candidate.score).clamp(0.0, 1.0) * 1e4).round() / 1e4,
        bounds: Some(bounds),
        landmarks: candidate.landmarks.iter().map(point).collect(),
        attributes: contracts::Attributes::default(),
    })
}

fn round_to_hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::nms::Candidate;
    use super::*;

    #[test]
    fn a_log_shows_no_embedding() {
        let findings = Findings { embeddings: BTreeMap::from([(0, vec![0.625])]), ..Findings::default() };
        assert_eq!(format!("{findings:?}"), "Findings { detections: [], embeddings: 1 }");
    }

    #[test]
    fn boxes_are_clipped_to_the_image_and_those_outside_dropped() {
        let candidate = |left, top, right, bottom| Candidate {
            class: 0,
            score: 0.912_345,
            left,
            top,
            right,
            bottom,
            landmarks: vec![(101.239, -3.0)],
        };
        let detection = to_detection(&candidate(-5.0, 90.0, 20.004, 130.0), "face", 100, 100).unwrap();
        assert_eq!(detection.bounds, Some(BoundingBox { x: 0.0, y: 90.0, width: 20.0, height: 10.0 }));
        assert_eq!((detection.confidence, detection.landmarks), (0.9123, vec![Point { x: 101.24, y: -3.0 }]));
        assert!(to_detection(&candidate(100.0, 0.0, 120.0, 10.0), "face", 100, 100).is_none());
    }
}
