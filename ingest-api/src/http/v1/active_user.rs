//! Whether the user of a request still exists, for documents that have no retention.

use accounts::{AccountError, Caller};
use api_kit::auth::AuthError;
use api_kit::error::ApiError;

use crate::http::app::App;

/// Refuses a caller whose user is deleted or disabled, as during its deletion. The operator's own token is always active.
///
/// # Errors
/// As for an invalid credential, or when the accounts cannot be read.
pub async fn check_active(app: &App, caller: &Caller) -> Result<(), ApiError> {
    if is_active(app, caller).await? { Ok(()) } else { Err(AuthError::InvalidCredential.into()) }
}

/// Whether the caller's user exists and is not disabled.
///
/// # Errors
/// When the accounts cannot be read.
pub async fn is_active(app: &App, caller: &Caller) -> Result<bool, ApiError> {
    let Some(id) = caller.user else { return Ok(true) };
    match app.users.user(id).await {
        Ok(user) => Ok(!user.disabled),
        Err(AccountError::NotFound(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
