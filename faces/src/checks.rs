//! What an image must have, so that its face can be compared, and enrolled.

use gallery::Embedding;
use vision::face_quality::{FaceQuality, QualityLimits};

use crate::encoder::Face;
use crate::http::error::FaceError;

/// How often two strangers may be taken for one person, if nobody says otherwise.
pub const DEFAULT_RATE: f64 = 1e-4;

/// The one face of an image, with its embedding.
///
/// # Errors
/// When there is none, there are several, or it has no embedding.
pub fn one_face(mut faces: Vec<Face>) -> Result<(Face, Embedding), FaceError> {
    let count = faces.len();
    let mut face = faces.pop().filter(|_| count == 1).ok_or(FaceError::FaceCount(count))?;
    let embedding = face.embedding.take().ok_or(FaceError::NotComparable)?;
    Ok((face, embedding))
}

/// The figures of a face that is good enough to be enrolled.
///
/// # Errors
/// Its fault.
pub fn quality(face: &Face) -> Result<FaceQuality, FaceError> {
    let quality = face.quality.map_err(FaceError::Fault)?;
    quality.fault(&QualityLimits::default()).map_or(Ok(quality), |fault| Err(FaceError::Fault(fault)))
}
