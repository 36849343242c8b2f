//! Errors about frames and their images.

use http::StatusCode;

use crate::http::error::HttpError;

/// Why a frame or its image is refused or not found.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// No result is there, or none yet.
    #[error("no detector has answered for this frame yet, or there is no such frame")]
    NotIndexed,
    /// The image was not kept, or is deleted.
    #[error("the image of this frame is not kept, or no longer")]
    ImageNotKept,
    /// The body has no bytes.
    #[error("the body is empty; send the image's bytes as the body")]
    EmptyBody,
    /// The image's header is damaged.
    #[error("{0}")]
    InvalidImage(String),
    /// The image has too many pixels.
    #[error("the image has {width} x {height} pixels, over the limit of {limit} in all; send a smaller one")]
    ImageTooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Pixels allowed.
        limit: u64,
    },
}

impl HttpError for FrameError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotIndexed => (StatusCode::NOT_FOUND, "not_indexed"),
            Self::ImageNotKept => (StatusCode::NOT_FOUND, "not_found"),
            Self::EmptyBody => (StatusCode::UNPROCESSABLE_ENTITY, "empty_body"),
            Self::InvalidImage(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_image"),
            Self::ImageTooLarge { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "image_too_large"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::NotIndexed).then_some(1)
    }
}
