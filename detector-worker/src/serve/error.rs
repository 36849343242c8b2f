//! Error responses of `detector-worker serve`, as `application/problem+json`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contracts::{DetectorName, FailureCode};
use platform::problem;
use vision::model::DetectError;
use vision::pipeline::Failure;

use super::UPLOAD_TIMEOUT;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the query must be ?detector=<name> or empty: {0}")]
    Query(String),
    #[error("the detector {0} is not running here")]
    NoDetector(DetectorName),
    #[error("the body must be a JPEG, PNG or WebP image")]
    NotAnImage,
    #[error("the image is longer than {0} bytes; send a smaller one")]
    TooLong(usize),
    #[error("the body ended early")]
    Cut,
    #[error("the body arrived too slowly; it must be complete within {UPLOAD_TIMEOUT:?}")]
    Slow,
    #[error("{}", .0.message)]
    Image(Failure),
    #[error("the engine behind the detector refused the image: {0}")]
    Rejected(String),
    #[error("the detector returned no result; try again")]
    NoAnswer,
    #[error("too many images are in flight; try again in a second")]
    Busy,
    #[error("there is nothing here; post an image to /detect")]
    NotFound,
    #[error("post an image")]
    Method,
    #[error("the engine failed")]
    Internal(anyhow::Error),
}

impl ServeError {
    /// The error response for a detector's error.
    pub fn of(error: &DetectError) -> Self {
        if error.failure_code().is_some() {
            return Self::Rejected(error.to_string());
        }
        tracing::warn!(%error, "the detector returned no result");
        Self::NoAnswer
    }

    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Query(_) => (StatusCode::BAD_REQUEST, "invalid_query"),
            Self::NoDetector(_) => (StatusCode::NOT_FOUND, "unknown_detector"),
            Self::NotAnImage => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Cut => (StatusCode::BAD_REQUEST, "incomplete_body"),
            Self::Slow => (StatusCode::REQUEST_TIMEOUT, "slow_body"),
            Self::Image(failure) if failure.code == FailureCode::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, failure.code.as_str())
            }
            Self::Image(failure) => (StatusCode::UNPROCESSABLE_ENTITY, failure.code.as_str()),
            Self::Rejected(_) => (StatusCode::UNPROCESSABLE_ENTITY, FailureCode::Rejected.as_str()),
            Self::NoAnswer => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl IntoResponse for ServeError {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            tracing::error!(error = format!("{cause:#}"), "request failed");
        }
        let (status, code) = self.status_and_code();
        let mut response = problem::response(status, code, self.to_string());
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            _ => {}
        }
        response
    }
}
