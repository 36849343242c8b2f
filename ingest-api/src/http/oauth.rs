//! Refusals of the token endpoints, in the words of RFC 6749 (5.2): their clients read no problems.

use accounts::AccountError;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::ApiError;

/// What keeps tokens out of caches.
pub const NO_STORE: [(HeaderName, HeaderValue); 2] =
    [(CACHE_CONTROL, HeaderValue::from_static("no-store")), (PRAGMA, HeaderValue::from_static("no-cache"))];

/// A refusal on the wire.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthError)]
pub struct Refusal {
    /// Stable code: `invalid_request`, `invalid_grant`, `invalid_scope`, `unsupported_grant_type`, `invalid_client`, `slow_down`,
    /// `temporarily_unavailable` or `server_error`.
    error: &'static str,
    /// What went wrong and what to do.
    error_description: String,
}

/// A refusal with its status.
#[derive(Debug)]
pub struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: String,
    retry_after: Option<u64>,
    /// Whether the caller has to show another credential.
    challenge: Option<&'static str>,
}

impl OAuthError {
    fn new(status: StatusCode, code: &'static str, description: impl Into<String>) -> Self {
        Self { status, code, description: description.into(), retry_after: None, challenge: None }
    }

    /// A grant that there is none of.
    pub fn unsupported_grant(given: &str) -> Self {
        let given: String = given.chars().take(64).collect();
        let known = "there are password and refresh_token";
        Self::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", format!("there is no grant {given:?}; {known}"))
    }

    /// A scope that there is none of.
    pub fn invalid_scope(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_scope", description)
    }
}

impl From<ApiError> for OAuthError {
    fn from(error: ApiError) -> Self {
        error.log();
        let (status, _, retry_after) = error.row();
        let (status, code, challenge) = match &error {
            ApiError::NoCredential => (status, "invalid_client", Some("Bearer")),
            ApiError::InvalidCredential => (status, "invalid_client", Some("Bearer error=\"invalid_token\"")),
            ApiError::RateLimited { .. } | ApiError::Throttled { .. } => (status, "slow_down", None),
            // Whatever is wrong with the form is told with 400 alone.
            ApiError::Invalid(_) | ApiError::UnsupportedMediaType(_) => {
                (StatusCode::BAD_REQUEST, "invalid_request", None)
            }
            _ if status == StatusCode::SERVICE_UNAVAILABLE => (status, "temporarily_unavailable", None),
            _ if status.is_server_error() => (status, "server_error", None),
            _ => (status, "invalid_request", None),
        };
        Self { retry_after, challenge, ..Self::new(status, code, error.to_string()) }
    }
}

impl From<AccountError> for OAuthError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::WrongPassword | AccountError::InvalidGrant => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_grant", error.to_string())
            }
            AccountError::NothingAllowed => Self::invalid_scope(error.to_string()),
            error => ApiError::from(error).into(),
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let Self { status, code, description, retry_after, challenge } = self;
        metrics::counter!("sightline_ingest_refusals_total", "code" => code).increment(1);
        let body = Json(Refusal { error: code, error_description: description });
        let mut response = (status, NO_STORE, body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
