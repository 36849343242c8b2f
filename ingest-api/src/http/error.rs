//! What goes wrong with a request, and the one table of what the client is told about it.

use std::time::Duration;

use accounts::{AccessError, AccountError, Right};
use axum::response::{IntoResponse, Response};
use contracts::IdError;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use platform::problem;
use platform::query::Invalid;
use store::StoreError;

use crate::openid::{OpenIdError, Rejected};

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
    #[error("the quota is used up; GET /v1/users/me/quota tells when there is more, and the operator may give more")]
    QuotaExceeded {
        /// When there is more, if ever.
        resets_at: Option<Timestamp>,
    },
    /// Too many requests.
    #[error("there may be {limit} requests a second; wait and try again")]
    RateLimited {
        /// Requests a second.
        limit: u32,
        /// When there may be another.
        retry_after: Duration,
    },
    /// Too many attempts to sign in, or to have mail sent.
    #[error("there were too many attempts; wait and try again")]
    Throttled {
        /// When there may be another.
        retry_after: Duration,
    },
    /// There is no such user, or its password is another: which of them is not told.
    #[error("the name or the password is wrong")]
    WrongPassword,
    /// Whoever changes its password does not know it.
    #[error("present_password: this is not the password; sign in by a reset of the password if it is lost")]
    WrongPresentPassword,
    /// A token for a new password that is unknown, spent or past its time.
    #[error("token: it is not valid any more; ask for another one by POST /v1/password/forgot")]
    InvalidReset,
    /// Strangers may not register.
    #[error("only an admin adds users here; ask the operator")]
    RegistrationClosed,
    /// The caller may not pass this on.
    #[error("scopes: {0} is not yours to give; name scopes that your own credential has")]
    ScopeNotAllowed(Right),
    /// Another user has the name.
    #[error("username: another user has this name; choose another one")]
    UsernameTaken,
    /// Another user has the address.
    #[error("email: another user has this address; sign in, or have the password reset")]
    EmailTaken,
    /// A user has this address who is not known to be the person that the OpenID provider vouches for.
    #[error(
        "a user of this e-mail address is there already: sign in as it by password (POST /v1/password/forgot sets a new one), \
         then link this way by POST /v1/users/me/identities"
    )]
    NotLinked,
    /// Nobody signs in as this person, and strangers may not register.
    #[error("nobody here signs in this way yet, and only an admin adds users; ask the operator")]
    NotRegistered,
    /// An admin has shut the user out.
    #[error("this user is disabled; ask the operator")]
    ShutOut,
    /// No OpenID provider is set.
    #[error("there is no sign-in by an OpenID provider here; the operator sets one with SIGHTLINE_OIDC_ISSUER")]
    NoProvider,
    /// This browser did not begin the sign-in that the provider answers, or long ago.
    #[error("this browser has not begun this sign-in, or more than ten minutes ago; begin again at /v1/oidc/login")]
    SignInNotBegun,
    /// The OpenID provider signs nobody in.
    #[error("{0}")]
    SignInRefused(String),
    /// An ID token that does not count.
    #[error(transparent)]
    InvalidIdToken(Rejected),
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
        "this idempotency key came with another image, body or parameters before; send the same again, or use a new key"
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
type Row = (StatusCode, &'static str, Option<u64>);

impl ApiError {
    /// The status table.
    pub(super) fn row(&self) -> Row {
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
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "wrong_password", None),
            Self::WrongPresentPassword => (StatusCode::FORBIDDEN, "wrong_password", None),
            Self::InvalidReset => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_reset_token", None),
            Self::RegistrationClosed => (StatusCode::FORBIDDEN, "registration_closed", None),
            Self::ScopeNotAllowed(_) => (StatusCode::FORBIDDEN, "scope_not_allowed", None),
            Self::UsernameTaken => (StatusCode::CONFLICT, "username_taken", None),
            Self::EmailTaken => (StatusCode::CONFLICT, "email_taken", None),
            Self::NotLinked => (StatusCode::CONFLICT, "email_taken", None),
            Self::NotRegistered => (StatusCode::FORBIDDEN, "not_registered", None),
            Self::ShutOut => (StatusCode::FORBIDDEN, "disabled", None),
            Self::NoProvider => (StatusCode::NOT_FOUND, "no_provider", None),
            Self::SignInNotBegun => (StatusCode::FORBIDDEN, "sign_in_not_begun", None),
            Self::SignInRefused(_) => (StatusCode::FORBIDDEN, "sign_in_refused", None),
            Self::InvalidIdToken(_) => (StatusCode::UNAUTHORIZED, "invalid_id_token", None),
            Self::QuotaExceeded { resets_at } => {
                (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded", resets_at.map(seconds_until))
            }
            Self::RateLimited { retry_after, .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", Some(whole_seconds(*retry_after)))
            }
            Self::Throttled { retry_after } => {
                (StatusCode::TOO_MANY_REQUESTS, "throttled", Some(whole_seconds(*retry_after)))
            }
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", Some(1)),
            Self::Backlog => (StatusCode::SERVICE_UNAVAILABLE, "backlog", Some(30)),
            Self::DiskFull => (StatusCode::SERVICE_UNAVAILABLE, "disk_full", Some(60)),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some(2)),
            Self::Timeout => (StatusCode::SERVICE_UNAVAILABLE, "timeout", Some(2)),
        }
    }

    /// Failures that are ours are logged here, once; those of clients are theirs.
    pub(super) fn log(&self) {
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
            Self::NoCredential | Self::WrongPassword | Self::InvalidIdToken(_) => {
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
            AccessError::QuotaExceeded { resets_at } => Self::QuotaExceeded { resets_at },
            AccessError::RateLimited { limit, retry_after } => Self::RateLimited { limit, retry_after },
            AccessError::Unavailable(cause) => Self::Unavailable(cause),
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::WrongPassword => Self::WrongPassword,
            AccountError::InvalidGrant | AccountError::SignedOut => Self::InvalidCredential,
            AccountError::InvalidReset => Self::InvalidReset,
            AccountError::Throttled { retry_after } => Self::Throttled { retry_after },
            AccountError::Invalid { field, reason } => Self::Invalid(format!("{field}: {reason}")),
            AccountError::NotRegistered => Self::NotRegistered,
            AccountError::ShutOut => Self::ShutOut,
            AccountError::UsernameTaken => Self::UsernameTaken,
            AccountError::EmailTaken => Self::EmailTaken,
            AccountError::IdentityTaken | AccountError::TooMany(_) => Self::Conflict(error.to_string()),
            AccountError::NotFound(_) => Self::NotFound(error.to_string()),
            AccountError::ScopeNotAllowed(right) => Self::ScopeNotAllowed(right),
            AccountError::NothingAllowed => Self::Invalid(format!("scope: {error}")),
            AccountError::Busy => Self::Busy,
            AccountError::Unavailable(cause) => Self::Unavailable(cause),
            AccountError::Internal(cause) => Self::Internal(anyhow::anyhow!(cause)),
        }
    }
}

impl From<OpenIdError> for ApiError {
    fn from(error: OpenIdError) -> Self {
        match error {
            OpenIdError::Away(_) => Self::Unavailable(error.to_string()),
            OpenIdError::Refused => Self::SignInRefused(error.to_string()),
            OpenIdError::Token(rejected) => Self::InvalidIdToken(rejected),
        }
    }
}

/// Seconds, rounded up: whoever waits so long is not too early.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn seconds_until(moment: Timestamp) -> u64 {
    let left = moment.duration_since(Timestamp::now());
    u64::try_from(left.as_secs()).unwrap_or(0) + 1
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
