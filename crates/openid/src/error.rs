//! Errors about signing in with an OpenID provider.

use api_kit::error::{ApiError, HttpError, ServiceError};
use http::StatusCode;

use crate::id_token::IdTokenError;

/// Why a sign-in fails at the provider.
#[derive(Debug, thiserror::Error)]
pub enum OpenIdError {
    /// The provider cannot be reached, or its configuration does not fit the settings.
    #[error("the OpenID provider cannot be used now: {0}")]
    Unavailable(String),
    /// The provider issues no tokens for the code.
    #[error("the provider no longer accepts this sign-in; begin again")]
    Refused,
    /// The ID token is invalid.
    #[error(transparent)]
    Token(#[from] IdTokenError),
}

/// Why a sign-in is refused, as a client gets it.
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
}

impl HttpError for OidcError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoProvider => (StatusCode::NOT_FOUND, "no_provider"),
            Self::NotBegun => (StatusCode::FORBIDDEN, "sign_in_not_begun"),
            Self::Refused(_) => (StatusCode::FORBIDDEN, "sign_in_refused"),
            Self::InvalidIdToken(_) => (StatusCode::UNAUTHORIZED, "invalid_id_token"),
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
