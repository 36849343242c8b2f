//! Authentication and authorisation of requests.
//!
//! Each type here is an argument of a handler. It authenticates the request and counts it against the caller's rate limit,
//! so a handler takes exactly one of them.

use std::marker::PhantomData;
use std::time::Duration;

use accounts::{AccessError, Actor, Caller, Origin, RateLimitDecision, Scope};
use axum::extract::FromRequestParts;
use contracts::UserId;
use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::Timestamp;
use platform::http::set_tenant;
use utoipa::openapi::security::SecurityRequirement;

use crate::http::app::App;
use crate::http::describe::{Argument, ErrorResponse, Requirements, requires};
use crate::http::error::{ApiError, HttpError, ServiceError, whole_seconds};
use crate::http::rate_limit::{self, RateLimitState};
use crate::http::scope::{self, RequiredScope};

/// A caller whose credential allows the scope `S`.
pub struct Authorized<S> {
    /// The caller.
    pub caller: Caller,
    scope: PhantomData<fn() -> S>,
}

/// A user with any kind of credential. The operator's own token authenticates the operator's user.
pub struct CurrentUser {
    /// The user's id.
    pub id: UserId,
    /// The caller with its scopes; `user` is always set.
    pub caller: Caller,
}

/// A user who may change the account: signed in without narrower scopes, or the operator by its own
/// token. An API token must not allow its holder to create other tokens, or to take over the
/// account with another e-mail address.
pub struct FullSession(pub CurrentUser);

/// A caller with the scope `admin`; `user` is always set.
pub struct Admin(pub Caller);

/// A caller with the scope `admin`; `None` for a request without a credential or without that scope.
pub struct OptionalAdmin(pub Option<Caller>);

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

impl FullSession {
    /// The actor, for the audit log.
    pub fn by(&self, origin: &Origin) -> Actor {
        Actor { user: Some(self.0.id), address: Some(origin.address) }
    }
}

impl Admin {
    /// The actor, for the audit log.
    pub fn by(&self, origin: &Origin) -> Actor {
        Actor { user: self.0.user, address: Some(origin.address) }
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
    ErrorResponse::with_retry("429", "`rate_limited`: too many requests; `throttled`: too many attempts"),
];

impl<S: RequiredScope> Argument for Authorized<S> {
    fn describe(requirements: &mut Requirements) {
        requirements.security = Some(requires(S::SCOPE).into());
        requirements.errors.extend(CALLER_ERRORS);
    }
}

impl Argument for Admin {
    fn describe(requirements: &mut Requirements) {
        Authorized::<scope::Admin>::describe(requirements);
    }
}

impl Argument for CurrentUser {
    fn describe(requirements: &mut Requirements) {
        requirements.security = None;
        requirements.errors.extend(CALLER_ERRORS);
    }
}

impl Argument for FullSession {
    fn describe(requirements: &mut Requirements) {
        CurrentUser::describe(requirements);
        requirements.full_session = true;
    }
}

impl Argument for OptionalAdmin {
    fn describe(requirements: &mut Requirements) {
        let none = SecurityRequirement::default();
        requirements.security = Some([none].into_iter().chain(requires(Scope::Admin)).collect());
    }
}

impl<S: RequiredScope> FromRequestParts<App> for Authorized<S> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = authenticate(parts, app).await?;
        if !caller.may(S::SCOPE) {
            return Err(AuthError::MissingScope(S::SCOPE).into());
        }
        Ok(Self { caller, scope: PhantomData })
    }
}

impl FromRequestParts<App> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Self::of(authenticate(parts, app).await?, app).await
    }
}

impl FromRequestParts<App> for FullSession {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = authenticate(parts, app).await?;
        // The operator's own token. That of `up --cameras` has no user either, and may only send frames.
        let is_operator = caller.user.is_none() && caller.may(Scope::Admin);
        if !(is_operator || caller.full_session) {
            return Err(AuthError::NotFullSession.into());
        }
        CurrentUser::of(caller, app).await.map(Self)
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let admin = Authorized::<scope::Admin>::from_request_parts(parts, app).await?;
        Ok(Self(CurrentUser::of(admin.caller, app).await?.caller))
    }
}

impl FromRequestParts<App> for OptionalAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if !parts.headers.contains_key(AUTHORIZATION) {
            return Ok(Self(None));
        }
        let caller = authenticate(parts, app).await?;
        if !caller.may(Scope::Admin) {
            return Ok(Self(None));
        }
        Ok(Self(Some(CurrentUser::of(caller, app).await?.caller)))
    }
}

impl CurrentUser {
    /// The user of a caller; the operator's user for the operator's own token.
    async fn of(caller: Caller, app: &App) -> Result<Self, ApiError> {
        let id = match caller.user {
            Some(id) => id,
            None if !caller.may(Scope::Admin) => return Err(AuthError::MissingScope(Scope::Admin).into()),
            None => app.users.operator().await?.id,
        };
        Ok(Self { id, caller: Caller { user: Some(id), ..caller } })
    }
}

/// The caller of a request, counted against its rate limit.
async fn authenticate(parts: &Parts, app: &App) -> Result<Caller, ApiError> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(AuthError::NoCredential)?;
    let token = header.to_str().ok().and_then(bearer).ok_or(AuthError::NoCredential)?;
    let caller = app.accounts.authenticate(token).await?;
    set_tenant(&parts.extensions, caller.tenant.as_str());
    count_request(parts, app, &caller).await?;
    Ok(caller)
}

/// Counts a request against the caller's rate limit and stores the limit's state for the response headers.
///
/// # Errors
/// When the limit is reached.
pub async fn count_request(parts: &Parts, app: &App, caller: &Caller) -> Result<(), ApiError> {
    match app.accounts.admit(caller).await {
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

/// The token of a `Bearer` credential.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
