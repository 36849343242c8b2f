//! Errors about signing in with an OpenID provider.

use api_kit::error::{ApiError, HttpError, ServiceError};
use http::StatusCode;

use crate::openid::{IdTokenError, OpenIdError};

/// Why a sign-in fails.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// No provider is set.
    #[error("no OpenID provider is set; the operator sets one with SIGHTLINE_OIDC_ISSUER")]
    NoProvider,
    /// The browser did not begin this sign-in, or began it more than ten minutes ago.
    #[error(
        "this browser did not begin this sign-in, or began it more than ten minutes ago; begin again at /v1/oidc/login"
    )]
    NotBegun,
    /// The provider refused.
    #[error("{0}")]
    Refused(String),
    /// The ID token is invalid.
    #[error(transparent)]
    InvalidIdToken(IdTokenError),
    /// A user has the e-mail address and is not linked to the provider's user.
    #[error(
        "a user with this e-mail address exists: sign in with its password (POST /v1/password/forgot sets a new one), then link \
         the identity by POST /v1/users/me/identities"
    )]
    NotLinked,
}

impl HttpError for OidcError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoProvider => (StatusCode::NOT_FOUND, "no_provider"),
            Self::NotBegun => (StatusCode::FORBIDDEN, "sign_in_not_begun"),
            Self::Refused(_) => (StatusCode::FORBIDDEN, "sign_in_refused"),
            Self::InvalidIdToken(_) => (StatusCode::UNAUTHORIZED, "invalid_id_token"),
            Self::NotLinked => (StatusCode::CONFLICT, "email_taken"),
        }
    }

    fn challenge(&self) -> Option<&'static str> {
        matches!(self, Self::InvalidIdToken(_)).then_some("Bearer")
    }
}

impl From<OpenIdError> for ApiError {
    fn from(error: OpenIdError) -> Self {
        match error {
            OpenIdError::Unavailable(_) => ServiceError::Unavailable(error.to_string()).into(),
            OpenIdError::Refused => OidcError::Refused(error.to_string()).into(),
            OpenIdError::Token(rejected) => OidcError::InvalidIdToken(rejected).into(),
        }
    }
}
