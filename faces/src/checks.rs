//! What an image must have, so that its face can be compared, and enrolled.

use contracts::FailureCode;
use gallery::Embedding;
use vision::face_quality::{FaceFault, FaceQuality};

use crate::encoder::Face;

/// How often two strangers may be taken for one person, if nobody says otherwise.
pub const DEFAULT_RATE: f64 = 1e-4;

/// Why the face of an image cannot be compared or enrolled.
#[derive(Debug, thiserror::Error)]
pub enum ImageRefusal {
    /// The image has no face, or several.
    #[error("the image has {}; send one in which exactly one face is seen", faces(*.0))]
    FaceCount(usize),
    /// The face has no embedding.
    #[error(
        "the face cannot be compared, because it is too small or its eyes, nose and mouth are not seen; send a larger image from the front"
    )]
    NotComparable,
    /// The face is not good enough to be enrolled, or not upright.
    #[error(transparent)]
    Fault(FaceFault),
    /// The bytes are no image that can be decoded.
    #[error("{message}")]
    Image {
        /// The cause.
        code: FailureCode,
        /// The cause in words.
        message: String,
    },
}

fn faces(count: usize) -> String {
    if count == 0 { "no face".to_owned() } else { format!("{count} faces") }
}

impl ImageRefusal {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::FaceCount(0) => "no_face",
            Self::FaceCount(_) => "several_faces",
            Self::NotComparable => "face_not_comparable",
            Self::Fault(fault) => fault.code(),
            Self::Image { code: FailureCode::TooLarge, .. } => "image_too_large",
            Self::Image { .. } => "invalid_image",
        }
    }
}

/// The one face of an image, with its embedding.
///
/// # Errors
/// When there is none, there are several, or it has no embedding.
pub fn one_face(mut faces: Vec<Face>) -> Result<(Face, Embedding), ImageRefusal> {
    let count = faces.len();
    let mut face = faces.pop().filter(|_| count == 1).ok_or(ImageRefusal::FaceCount(count))?;
    let embedding = face.embedding.take().ok_or(ImageRefusal::NotComparable)?;
    Ok((face, embedding))
}

/// The embedding of the one face of an image, if it can be compared, as `Encoder::faces_to_compare` found it. Its other faults do not count.
///
/// # Errors
/// As those of [`one_face`], and when the image is not upright: faces on their head resemble each other, also those of strangers.
pub fn comparable(faces: Vec<Face>) -> Result<Embedding, ImageRefusal> {
    let (face, embedding) = one_face(faces)?;
    match face.quality {
        Err(fault @ FaceFault::NotUpright { .. }) => Err(ImageRefusal::Fault(fault)),
        _ => Ok(embedding),
    }
}

/// The figures of a face that is good enough to be enrolled, as `Encoder::faces_to_enrol` found it.
///
/// # Errors
/// Its fault.
pub fn quality(face: &Face) -> Result<FaceQuality, ImageRefusal> {
    face.quality.map_err(ImageRefusal::Fault)
}
