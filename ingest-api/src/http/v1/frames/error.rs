//! Errors about frames and their images.

use api_kit::error::HttpError;
use contracts::MAX_IMAGE_SIDE;
use http::StatusCode;

/// Why a frame or its image is refused or not found.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// No result is stored, or not yet.
    #[error("this frame has no results yet, or does not exist")]
    NotIndexed,
    /// The image was not kept, or is deleted.
    #[error("the image of this frame was not kept, or was deleted")]
    ImageNotKept,
    /// The body has no bytes.
    #[error("the body is empty; send the image's bytes as the body")]
    EmptyBody,
    /// The image's header is damaged.
    #[error("{0}")]
    InvalidImage(String),
    /// The image has too many pixels.
    #[error("the image has {width} x {height} pixels, more than the limit of {limit}; send a smaller one")]
    ImageTooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Pixels allowed.
        limit: u64,
    },
    /// A side of the image is too long.
    #[error("the image has {width} x {height} pixels; no side may have more than {MAX_IMAGE_SIDE}, send a part of it")]
    ImageTooLong {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

impl HttpError for FrameError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotIndexed => (StatusCode::NOT_FOUND, "not_indexed"),
            Self::ImageNotKept => (StatusCode::NOT_FOUND, "not_found"),
            Self::EmptyBody => (StatusCode::UNPROCESSABLE_ENTITY, "empty_body"),
            Self::InvalidImage(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_image"),
            Self::ImageTooLarge { .. } | Self::ImageTooLong { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "image_too_large")
            }
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::NotIndexed).then_some(1)
    }
}
