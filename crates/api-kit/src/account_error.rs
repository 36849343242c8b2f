//! Errors about users, passwords and tokens.

use std::time::Duration;

use accounts::{AccountError, Scope};
use http::StatusCode;

use crate::auth::AuthError;
use crate::error::{ApiError, HttpError, RequestError, ServiceError, whole_seconds};

/// Why a request about an account is refused.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// No user has the name, or the password is wrong. The response does not reveal which.
    #[error("the name or the password is wrong")]
    WrongPassword,
    /// The present password is wrong. Not 401, which would mean that the credential of the request is invalid.
    #[error("present_password: the password is wrong; if it is lost, reset it by POST /v1/password/forgot")]
    WrongPresentPassword,
    /// The token for a new password is unknown, used or expired.
    #[error("token: it is no longer valid; request another one by POST /v1/password/forgot")]
    InvalidReset,
    /// Only admins add users.
    #[error("only an admin can add users; ask the operator")]
    RegistrationClosed,
    /// The caller lacks a scope of the new token.
    #[error("scopes: your credential does not have {0}; request only scopes that it has")]
    ScopeNotAllowed(Scope),
    /// Another user has the name.
    #[error("username: another user has this name; choose another one")]
    UsernameTaken,
    /// Another user has the e-mail address.
    #[error("email: another user has this address; sign in, or reset the password")]
    EmailTaken,
    /// A user has the e-mail address and is not linked to the provider's user.
    #[error("{0}")]
    NotLinked(String),
    /// No user is linked to the provider's user, and only admins add users.
    #[error("no user is linked to this identity, and only an admin can add users; ask the operator")]
    NotRegistered,
    /// The user is disabled.
    #[error("this user is disabled; ask the operator")]
    Disabled,
    /// Too many attempts to sign in or to request a mail.
    #[error("there were too many attempts; wait and try again")]
    Throttled {
        /// Time until the next attempt is allowed.
        retry_after: Duration,
    },
    /// No such user, session or token.
    #[error("{0}")]
    NotFound(String),
    /// The state of the account does not allow the change.
    #[error("{0}")]
    Conflict(String),
}

impl HttpError for AccountsError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::WrongPassword => (StatusCode::UNAUTHORIZED, "wrong_password"),
            Self::WrongPresentPassword => (StatusCode::FORBIDDEN, "wrong_password"),
            Self::InvalidReset => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_reset_token"),
            Self::RegistrationClosed => (StatusCode::FORBIDDEN, "registration_closed"),
            Self::ScopeNotAllowed(_) => (StatusCode::FORBIDDEN, "scope_not_allowed"),
            Self::UsernameTaken => (StatusCode::CONFLICT, "username_taken"),
            Self::EmailTaken | Self::NotLinked(_) => (StatusCode::CONFLICT, "email_taken"),
            Self::NotRegistered => (StatusCode::FORBIDDEN, "not_registered"),
            Self::Disabled => (StatusCode::FORBIDDEN, "disabled"),
            Self::Throttled { .. } => (StatusCode::TOO_MANY_REQUESTS, "throttled"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Throttled { retry_after } => Some(whole_seconds(*retry_after)),
            _ => None,
        }
    }

    fn challenge(&self) -> Option<&'static str> {
        matches!(self, Self::WrongPassword).then_some("Bearer")
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::WrongPassword => AccountsError::WrongPassword.into(),
            AccountError::WrongPresentPassword => AccountsError::WrongPresentPassword.into(),
            AccountError::OperatorUser | AccountError::OperatorLockout => {
                AccountsError::Conflict(error.to_string()).into()
            }
            AccountError::InvalidGrant | AccountError::SignedOut => AuthError::InvalidCredential.into(),
            AccountError::InvalidReset => AccountsError::InvalidReset.into(),
            AccountError::Throttled { retry_after } => AccountsError::Throttled { retry_after }.into(),
            AccountError::Invalid { field, reason } => RequestError::Invalid(format!("{field}: {reason}")).into(),
            AccountError::RegistrationClosed => AccountsError::RegistrationClosed.into(),
            AccountError::NotLinked => AccountsError::NotLinked(error.to_string()).into(),
            AccountError::NotRegistered => AccountsError::NotRegistered.into(),
            AccountError::Disabled => AccountsError::Disabled.into(),
            AccountError::UsernameTaken => AccountsError::UsernameTaken.into(),
            AccountError::EmailTaken => AccountsError::EmailTaken.into(),
            AccountError::IdentityTaken | AccountError::TooMany(_) => AccountsError::Conflict(error.to_string()).into(),
            AccountError::NotFound(_) => AccountsError::NotFound(error.to_string()).into(),
            AccountError::ScopeNotAllowed(right) => AccountsError::ScopeNotAllowed(right).into(),
            AccountError::NothingAllowed => RequestError::Invalid(format!("scope: {error}")).into(),
            AccountError::Busy => ServiceError::Busy.into(),
            AccountError::Unavailable(cause) => ServiceError::Unavailable(cause).into(),
            AccountError::DiskFull(cause) => ServiceError::DiskFull(cause).into(),
            AccountError::Internal(cause) => ServiceError::Internal(anyhow::anyhow!(cause)).into(),
        }
    }
}
