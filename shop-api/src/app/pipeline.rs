//! What needs the audio pipeline: transcripts, search by meaning, providers, the ledger. This version has none, and says so.

use api_kit::error::{ApiError, HttpError};
use http::StatusCode;

/// A call that needs the audio pipeline.
#[derive(Debug, thiserror::Error)]
#[error("this version of the server has no audio pipeline, so there is no {0}; the rest of the shop works without it")]
struct NotBuilt(&'static str);

impl HttpError for NotBuilt {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        (StatusCode::NOT_IMPLEMENTED, "not_built")
    }
}

/// The refusal of a call that needs the audio pipeline, with what it asks for.
pub fn not_built(what: &'static str) -> ApiError {
    NotBuilt(what).into()
}
