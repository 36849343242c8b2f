//! Errors of the token endpoints in the form of RFC 6749 (5.2), which their clients expect instead of problems.

use accounts::AccountError;
use api_kit::describe::{ErrorResponse, HandlerError, METHOD_NOT_ALLOWED};
use api_kit::error::{ApiError, RequestError};
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Response as Described};

/// Keeps tokens out of caches.
pub const NO_STORE: [(HeaderName, HeaderValue); 2] =
    [(CACHE_CONTROL, HeaderValue::from_static("no-store")), (PRAGMA, HeaderValue::from_static("no-cache"))];

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OAuthError)]
pub struct ErrorBody {
    /// Stable code: `invalid_request`, `invalid_grant`, `invalid_scope`, `unsupported_grant_type`, `invalid_client`, `slow_down`,
    /// `temporarily_unavailable` or `server_error`.
    error: &'static str,
    /// What went wrong and what to do.
    error_description: String,
}

/// An error with its status and headers.
#[derive(Debug)]
pub struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: String,
    retry_after: Option<u64>,
    /// `WWW-Authenticate`, if the caller needs another credential.
    challenge: Option<&'static str>,
}

impl OAuthError {
    fn new(status: StatusCode, code: &'static str, description: impl Into<String>) -> Self {
        Self { status, code, description: description.into(), retry_after: None, challenge: None }
    }

    /// A grant type that is not supported.
    pub fn unsupported_grant(given: &str) -> Self {
        let given: String = given.chars().take(64).collect();
        let known = "the grants are password and refresh_token";
        Self::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", format!("there is no grant {given:?}; {known}"))
    }

    /// A scope that does not exist, or that the user does not have.
    pub fn invalid_scope(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_scope", description)
    }
}

/// The error responses of the token endpoints. A request that does not reach them gets a problem.
const TOKEN_ERRORS: [ErrorResponse; 6] = [
    ErrorResponse::new("400", "`invalid_request`, `invalid_grant`, `invalid_scope`, `unsupported_grant_type`"),
    ErrorResponse::new("408", "`invalid_request`: the form took too long to arrive"),
    ErrorResponse::new("413", "`invalid_request`: the form is too long"),
    ErrorResponse::with_retry("429", "`slow_down`: too many attempts"),
    ErrorResponse::new("500", "`server_error`: a defect of the service, which was logged"),
    ErrorResponse::with_retry(
        "503",
        "`temporarily_unavailable`: not now; a problem `timeout` where the response takes too long",
    ),
];

/// The media types of an error response with their schemas.
const BODIES: [(&str, &str); 2] = [("application/json", "OAuthError"), ("application/problem+json", "Problem")];

impl HandlerError for OAuthError {
    fn responses(_: Vec<ErrorResponse>) -> Vec<(String, RefOr<Described>)> {
        let own = TOKEN_ERRORS.into_iter().map(|error| error.response(&BODIES));
        own.chain([METHOD_NOT_ALLOWED.problem()]).collect()
    }
}

impl From<ApiError> for OAuthError {
    fn from(error: ApiError) -> Self {
        error.log();
        let (status, retry_after) = (error.status(), error.retry_after());
        let (status, code, challenge) = match error.code() {
            "unauthorized" | "invalid_token" => (status, "invalid_client", error.challenge()),
            "rate_limited" | "throttled" => (status, "slow_down", None),
            // RFC 6749 has only 400 for an invalid form.
            "invalid" | "unsupported_media_type" => (StatusCode::BAD_REQUEST, "invalid_request", None),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => (status, "temporarily_unavailable", None),
            _ if status.is_server_error() => (status, "server_error", None),
            _ => (status, "invalid_request", None),
        };
        Self { retry_after, challenge, ..Self::new(status, code, error.to_string()) }
    }
}

impl From<RequestError> for OAuthError {
    fn from(error: RequestError) -> Self {
        ApiError::from(error).into()
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
        metrics::counter!("sightline_http_refusals_total", "code" => code).increment(1);
        let body = Json(ErrorBody { error: code, error_description: description });
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
