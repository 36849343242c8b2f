//! What goes wrong with a request, and the one table of what the client is told about it.

use accounts::AccessError;
use axum::response::{IntoResponse, Response};
use contracts::IdError;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use platform::problem;
use platform::query::Invalid;
use store::StoreError;

/// Why a request is not answered as it asked. The text is what the client reads; it says what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// No credential.
    #[error("this needs a credential; send Authorization: Bearer <token>")]
    NoCredential,
    /// A credential that does not count.
    #[error("the token is not valid; sign in again or use another one")]
    InvalidCredential,
    /// A credential that does not allow this.
    #[error("the token does not allow {0}; use one that does")]
    Forbidden(&'static str),
    /// The quota is used up.
    #[error("the quota is used up; ask the operator for more")]
    QuotaExceeded,
    /// No such path.
    #[error("there is nothing at this path; /docs lists what there is")]
    UnknownPath,
    /// No such thing.
    #[error("{0}")]
    NotFound(String),
    /// Not there, and may come.
    #[error("no detector has answered for this frame yet, or there is no such frame")]
    NotIndexed,
    /// The path takes other methods.
    #[error("this path does not take this method; the Allow header lists those it takes")]
    MethodNotAllowed,
    /// The body did not come in time.
    #[error("the body took too long to arrive; send it again without pauses")]
    SlowUpload,
    /// What is there already does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The body is too long.
    #[error("the body is over the limit of {limit} bytes; send a smaller one")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The body is no image that is taken.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// A value is out of its range.
    #[error("{0}")]
    Invalid(String),
    /// The idempotency key is another frame's.
    #[error(
        "this idempotency key came with another picture, body or parameters before; send the same again, or use a new key"
    )]
    KeyReused,
    /// Another rule has the name.
    #[error("there is a rule called {0:?} already; alerts tell rules by their names, so give this one another")]
    RuleNameTaken(String),
    /// There is no body.
    #[error("the body is empty; send the image's bytes as the body")]
    EmptyBody,
    /// The image begins as one and does not go on as one.
    #[error("{0}")]
    InvalidImage(String),
    /// The image has too many pixels.
    #[error("the image has {width} x {height} pixels, over the limit of {limit} in all; send a smaller one")]
    ImageTooLarge {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// Pixels allowed.
        limit: u64,
    },
    /// A defect of ours; the cause is logged, never sent.
    #[error("something went wrong here; it was logged")]
    Internal(#[source] anyhow::Error),
    /// Too much at once.
    #[error("too much is on its way at this moment; try again soon")]
    Busy,
    /// The workers are too far behind.
    #[error("the detectors are too far behind to take more frames; try again later")]
    Backlog,
    /// The disk is full.
    #[error("there is no room for more frames; the operator must make some")]
    DiskFull,
    /// Something that this needs cannot be reached; which is logged, not sent.
    #[error("something that this needs cannot be reached now; try again soon")]
    Unavailable(String),
    /// The answer took too long.
    #[error("the answer took too long; ask for less, or try again soon")]
    Timeout,
}

/// Status, code and seconds after which to try again.
type Row = (StatusCode, &'static str, Option<u32>);

impl ApiError {
    /// The status table.
    const fn row(&self) -> Row {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", None),
            Self::NoCredential => (StatusCode::UNAUTHORIZED, "unauthorized", None),
            Self::InvalidCredential => (StatusCode::UNAUTHORIZED, "invalid_token", None),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", None),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path", None),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", None),
            Self::NotIndexed => (StatusCode::NOT_FOUND, "not_indexed", Some(1)),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", None),
            Self::SlowUpload => (StatusCode::REQUEST_TIMEOUT, "slow_upload", None),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", None),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large", None),
            Self::UnsupportedMediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", None),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", None),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", None),
            Self::RuleNameTaken(_) => (StatusCode::CONFLICT, "rule_name_taken", None),
            Self::EmptyBody => (StatusCode::UNPROCESSABLE_ENTITY, "empty_body", None),
            Self::InvalidImage(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_image", None),
            Self::ImageTooLarge { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "image_too_large", None),
            Self::QuotaExceeded => (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", None),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", Some(1)),
            Self::Backlog => (StatusCode::SERVICE_UNAVAILABLE, "backlog", Some(30)),
            Self::DiskFull => (StatusCode::SERVICE_UNAVAILABLE, "disk_full", Some(60)),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some(2)),
            Self::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout", Some(2)),
        }
    }

    /// Failures that are ours are logged here, once; those of clients are theirs.
    fn log(&self) {
        match self {
            Self::Internal(cause) => tracing::error!(error = format!("{cause:#}"), "request failed"),
            Self::Unavailable(cause) => tracing::warn!(error = cause, "request refused"),
            _ => {}
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let (status, code, retry_after) = self.row();
        metrics::counter!("sightline_ingest_refusals_total", "code" => code).increment(1);
        let mut response = problem::response(status, code, self.to_string());
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Self::NoCredential => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::InvalidCredential => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
            }
            _ => {}
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            StoreError::Fatal(_) => Self::Internal(error.into()),
        }
    }
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::InvalidCredential => Self::InvalidCredential,
            AccessError::QuotaExceeded { .. } => Self::QuotaExceeded,
            AccessError::RateLimited { .. } => Self::Busy,
            AccessError::Unavailable(cause) => Self::Unavailable(cause),
        }
    }
}

impl From<Invalid> for ApiError {
    fn from(Invalid(reason): Invalid) -> Self {
        Self::Invalid(reason)
    }
}

impl From<IdError> for ApiError {
    fn from(error: IdError) -> Self {
        Self::Invalid(error.to_string())
    }
}
