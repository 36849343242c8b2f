//! Why a request gets no stream: status, code and text of each refusal.

use std::time::Duration;

use accounts::AccessError;
use axum::response::{IntoResponse, Response};
use bus::BusError;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use platform::problem;
use platform::query::Invalid;

/// Why a request gets no stream. Clients read the text.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A parameter or header has an invalid value.
    #[error("{0}")]
    Invalid(String),
    /// The request has no credential.
    #[error(
        "this request needs a credential; send Authorization: Bearer <token>, or the cookie of POST /v1/alerts/cookie"
    )]
    NoCredential,
    /// The credential is unknown, expired or revoked.
    #[error("the token is not valid; sign in again or use another one")]
    InvalidCredential,
    /// The credential lacks the scope.
    #[error("the token lacks the scope alerts:read")]
    Forbidden,
    /// The operator's token never goes into a browser.
    #[error("the operator's token cannot be given to a browser as a cookie; use the token of a user")]
    OperatorToken,
    /// No route has this path.
    #[error("there is nothing at this path; the paths are /v1/alerts and /v1/alerts/cookie")]
    UnknownPath,
    /// The path has other methods.
    #[error("this path does not accept this method; the Allow header lists the methods that it accepts")]
    MethodNotAllowed,
    /// The caller exceeds its rate limit.
    #[error("the rate limit is {limit} requests per second; wait and try again")]
    RateLimited {
        /// Requests per second.
        limit: u32,
        /// When the next request is allowed.
        retry_after: Duration,
    },
    /// All connections are in use.
    #[error("too many clients are connected at this moment; try again soon")]
    Busy,
    /// The log or the accounts are unreachable.
    #[error("alerts cannot be streamed at this moment; try again soon")]
    Unavailable,
}

impl ApiError {
    const fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::NoCredential => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::InvalidCredential => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Self::Forbidden | Self::OperatorToken => (StatusCode::FORBIDDEN, "forbidden"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        let mut response = problem::response(status, code, self.to_string());
        let headers = response.headers_mut();
        let (name, value) = match self {
            Self::NoCredential => (WWW_AUTHENTICATE, "Bearer"),
            Self::InvalidCredential => (WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
            Self::Busy | Self::Unavailable => (RETRY_AFTER, "5"),
            Self::RateLimited { retry_after, .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs() + 1));
                return response;
            }
            _ => return response,
        };
        headers.insert(name, HeaderValue::from_static(value));
        response
    }
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::InvalidCredential | AccessError::QuotaExceeded { .. } => Self::InvalidCredential,
            AccessError::RateLimited { limit, retry_after } => Self::RateLimited { limit, retry_after },
            AccessError::Unavailable(reason) | AccessError::DiskFull(reason) => {
                tracing::warn!(error = reason, "callers cannot be authenticated");
                Self::Unavailable
            }
        }
    }
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        tracing::warn!(%error, "the log cannot be read for the start of a stream");
        Self::Unavailable
    }
}

impl From<Invalid> for ApiError {
    fn from(Invalid(reason): Invalid) -> Self {
        Self::Invalid(reason)
    }
}
