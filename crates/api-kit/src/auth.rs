//! Authentication and authorisation of requests.

use std::marker::PhantomData;
use std::time::Duration;

use accounts::{AccessError, Caller, RateLimitDecision, Scope};
use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use platform::http::set_tenant;

use crate::ApiState;
use crate::describe::{Argument, ErrorResponse, Requirements, requires};
use crate::error::{ApiError, HttpError, ServiceError, whole_seconds};
use crate::rate_limit::{self, RateLimitState};
use crate::scope::RequiredScope;

/// A caller whose credential allows the scope `S`. As an argument of a handler, it authenticates the request and counts it against the
/// caller's rate limit, so a handler takes exactly one argument that does.
pub struct Authorized<S> {
    /// The caller.
    pub caller: Caller,
    scope: PhantomData<fn() -> S>,
}

impl<S> Authorized<S> {
    /// The data that the caller may read.
    pub fn tenant_scope(&self) -> store::TenantScope {
        if self.caller.reads_all_tenants {
            store::TenantScope::All
        } else {
            store::TenantScope::Tenant(self.caller.tenant.clone())
        }
    }
}

/// Why a caller is refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The request has no bearer token.
    #[error("this request needs a credential; send Authorization: Bearer <token>")]
    NoCredential,
    /// The token is unknown, expired or revoked.
    #[error("the token is not valid; sign in again or use another one")]
    InvalidCredential,
    /// The token lacks a scope.
    #[error("the token lacks the scope {0}")]
    MissingScope(Scope),
    /// Changing an account needs the session of a sign-in without narrower scopes.
    #[error("changing an account needs a sign-in with all scopes; this token has fewer")]
    NotFullSession,
    /// The rate limit is reached.
    #[error("the rate limit is {limit} requests per second; wait and try again")]
    RateLimited {
        /// Requests per second.
        limit: u32,
        /// Time until the next request is allowed.
        retry_after: Duration,
    },
    /// The quota is used up.
    #[error("the quota is used up; GET /v1/users/me/quota shows when it resets, and the operator can raise it")]
    QuotaExceeded {
        /// When the next period begins, if there is one.
        resets_at: Option<Timestamp>,
    },
}

impl HttpError for AuthError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoCredential => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::InvalidCredential => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Self::MissingScope(_) | Self::NotFullSession => (StatusCode::FORBIDDEN, "forbidden"),
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::QuotaExceeded { .. } => (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(whole_seconds(*retry_after)),
            Self::QuotaExceeded { resets_at } => resets_at.map(seconds_until),
            _ => None,
        }
    }

    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::NoCredential => Some("Bearer"),
            Self::InvalidCredential => Some("Bearer error=\"invalid_token\""),
            _ => None,
        }
    }
}

fn seconds_until(moment: Timestamp) -> u64 {
    let left = moment.duration_since(Timestamp::now());
    u64::try_from(left.as_secs()).unwrap_or(0) + 1
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::InvalidCredential => AuthError::InvalidCredential.into(),
            AccessError::QuotaExceeded { resets_at } => AuthError::QuotaExceeded { resets_at }.into(),
            AccessError::RateLimited { limit, retry_after } => AuthError::RateLimited { limit, retry_after }.into(),
            AccessError::Unavailable(cause) => ServiceError::Unavailable(cause).into(),
            AccessError::DiskFull(cause) => ServiceError::DiskFull(cause).into(),
        }
    }
}

/// The error responses to a request with a credential.
pub const CALLER_ERRORS: [ErrorResponse; 3] = [
    ErrorResponse::with_header(
        "401",
        "`unauthorized`: no credential; `invalid_token`: one that is not valid",
        "WWW-Authenticate",
        "`Bearer`, with what is wrong with the token",
    ),
    ErrorResponse::new("403", "`forbidden`, `scope_not_allowed`, `wrong_password`: the credential does not allow it"),
    ErrorResponse::with_retry(
        "429",
        "`rate_limited`: too many requests; `share_in_use`: too many at the same time; `throttled`: too many attempts",
    ),
];

impl<S: RequiredScope> Argument for Authorized<S> {
    fn describe(requirements: &mut Requirements) {
        requirements.security = Some(requires(S::SCOPE).into());
        requirements.errors.extend(CALLER_ERRORS);
    }
}

impl<S: RequiredScope, A: ApiState> FromRequestParts<A> for Authorized<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &A) -> Result<Self, ApiError> {
        let caller = authenticate(parts, app).await?;
        if !caller.may(S::SCOPE) {
            return Err(AuthError::MissingScope(S::SCOPE).into());
        }
        Ok(Self { caller, scope: PhantomData })
    }
}

/// The caller of a request, counted against its rate limit.
///
/// # Errors
/// When there is no valid credential, or the rate limit is reached.
pub async fn authenticate<A: ApiState>(parts: &Parts, app: &A) -> Result<Caller, ApiError> {
    let token = bearer_token(&parts.headers).ok_or(AuthError::NoCredential)?;
    let caller = app.accounts().authenticate(token).await?;
    set_tenant(&parts.extensions, caller.tenant.as_str());
    count_request(parts, app, &caller).await?;
    Ok(caller)
}

/// Counts a request against the caller's rate limit and stores the limit's state for the response headers.
///
/// # Errors
/// When the limit is reached.
pub async fn count_request<A: ApiState>(parts: &Parts, app: &A, caller: &Caller) -> Result<(), ApiError> {
    match app.accounts().admit(caller).await {
        Ok(Some(RateLimitDecision { remaining, resets_in, .. })) => {
            let limit = caller.rate_limit.unwrap_or(remaining);
            rate_limit::set(&parts.extensions, RateLimitState { limit, remaining, resets_in });
        }
        Ok(None) => {}
        Err(error) => {
            if let AccessError::RateLimited { limit, retry_after } = error {
                rate_limit::set(&parts.extensions, RateLimitState { limit, remaining: 0, resets_in: retry_after });
            }
            return Err(error.into());
        }
    }
    Ok(())
}

/// The token of a request's `Bearer` credential.
pub fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_the_rest_of_its_header() {
        let token = |header: &'static str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, http::HeaderValue::from_static(header))]);
            bearer_token(&headers).map(str::to_owned)
        };
        for header in ["Bearer abc", "bearer abc", "BEARER  abc ", " Bearer abc"] {
            assert_eq!(token(header).as_deref(), Some("abc"), "{header:?}");
        }
        for header in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(token(header), None, "{header:?}");
        }
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }
}
