//! Why a request gets no stream, and what the client is told of it.

use accounts::AccessError;
use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use bus::BusError;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use platform::problem;
use serde::de::DeserializeOwned;

/// Why a request gets no stream. The text is what the client reads.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// No credential.
    #[error("this needs a credential; send Authorization: Bearer <token>, or the cookie of POST /v1/alerts/cookie")]
    NoCredential,
    /// A credential that does not count.
    #[error("the token is not valid; sign in again or use another one")]
    InvalidCredential,
    /// A credential that does not allow this.
    #[error("the token does not allow reading; use one that does")]
    Forbidden,
    /// No such path.
    #[error("there is nothing at this path; there are /v1/alerts and /v1/alerts/cookie")]
    UnknownPath,
    /// The path takes other methods.
    #[error("this path does not take this method; the Allow header lists those it takes")]
    MethodNotAllowed,
    /// Too many listen already.
    #[error("too many clients listen at this moment; try again soon")]
    Busy,
    /// Something that is needed is away.
    #[error("alerts cannot be streamed at this moment; try again soon")]
    Unavailable,
}

impl ApiError {
    const fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::NoCredential => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::InvalidCredential => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
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
            _ => return response,
        };
        headers.insert(name, HeaderValue::from_static(value));
        response
    }
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::InvalidCredential | AccessError::QuotaExceeded => Self::InvalidCredential,
            AccessError::Unavailable(reason) => {
                tracing::warn!(error = reason, "callers cannot be told from strangers");
                Self::Unavailable
            }
        }
    }
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        tracing::warn!(%error, "the log cannot be asked where a client's stream begins");
        Self::Unavailable
    }
}

/// A query of which every part is known: what is mistyped is refused and not overlooked.
pub struct Strict<T>(pub Query<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Strict<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(Self).map_err(|error| ApiError::Malformed(error.body_text()))
    }
}
