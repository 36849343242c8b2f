//! The route, in two versions. The first version keeps its shape as long as clients use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use accounts::{AccessError, Accounts, Scope};
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use contracts::DetectorName;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use platform::problem;
use serde::Serialize;

use crate::Deps;
use crate::counts::Counts;

/// State of the handlers.
#[derive(Clone)]
struct App {
    accounts: Arc<dyn Accounts>,
    counts: Counts,
}

/// `GET /v1/counts` and `GET /v2/counts`.
pub fn router(deps: &Deps, counts: &Counts) -> Router {
    let app = App { accounts: Arc::clone(&deps.accounts), counts: counts.clone() };
    Router::new().route("/v1/counts", get(counts_v1)).route("/v2/counts", get(counts_v2)).with_state(app)
}

async fn counts_v1(_: MayRead, State(app): State<App>) -> Json<BTreeMap<DetectorName, u64>> {
    Json(app.counts.current())
}

/// Body of version 2: a list, so that an item can get more fields.
#[derive(Debug, Serialize)]
struct CountsV2 {
    items: Vec<Count>,
}

#[derive(Debug, Serialize)]
struct Count {
    detector: DetectorName,
    count: u64,
}

async fn counts_v2(_: MayRead, State(app): State<App>) -> Json<CountsV2> {
    let items = app.counts.current().into_iter().map(|(detector, count)| Count { detector, count });
    Json(CountsV2 { items: items.collect() })
}

/// A caller with the scope `detections:read`. As an argument of a handler, it refuses all other requests.
struct MayRead;

impl FromRequestParts<App> for MayRead {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or(ApiError::NoCredential)?;
        let caller = app.accounts.authenticate(token).await?;
        app.accounts.admit(&caller).await?;
        if caller.may(Scope::DetectionsRead) { Ok(Self) } else { Err(ApiError::Forbidden) }
    }
}

/// An error response. The text is the `detail` of the problem.
#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("this request needs a credential; send Authorization: Bearer <token>")]
    NoCredential,
    #[error("the token is not valid; sign in again or use another one")]
    InvalidCredential,
    #[error("the token lacks the scope detections:read")]
    Forbidden,
    #[error("there were too many requests; try again in a second")]
    RateLimited,
    #[error("the credential cannot be verified at this moment; try again soon")]
    Unavailable,
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::RateLimited { .. } => Self::RateLimited,
            AccessError::Unavailable(_) | AccessError::DiskFull(_) => Self::Unavailable,
            _ => Self::InvalidCredential,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, header, value) = match self {
            Self::NoCredential => (StatusCode::UNAUTHORIZED, "unauthorized", WWW_AUTHENTICATE, "Bearer"),
            Self::InvalidCredential => {
                (StatusCode::UNAUTHORIZED, "invalid_token", WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
            }
            Self::Forbidden => return problem::response(StatusCode::FORBIDDEN, "forbidden", self.to_string()),
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", RETRY_AFTER, "1"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", RETRY_AFTER, "5"),
        };
        let mut response = problem::response(status, code, self.to_string());
        response.headers_mut().insert(header, HeaderValue::from_static(value));
        response
    }
}
