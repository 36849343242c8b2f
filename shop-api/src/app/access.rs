//! Who may call what: one rule for both protocols.
//!
//! A user of the shop is somebody who signed in with all scopes. The token of a camera, or a session that was narrowed to reading
//! detections, must not spend the user's money nor read the user's books. An admin's API token may do everything that an admin may.

use accounts::{Caller, Scope};
use api_kit::auth::AuthError;
use api_kit::error::{ApiError, HttpError};
use http::StatusCode;

/// Why a caller with a valid credential is refused.
#[derive(Debug, thiserror::Error)]
enum AccessRefusal {
    /// The credential has fewer scopes than a sign-in.
    #[error("the shop needs the token of a sign-in with all scopes; this one has fewer, or is an API token: sign in")]
    NotSignedIn,
}

impl HttpError for AccessRefusal {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotSignedIn => (StatusCode::FORBIDDEN, "forbidden"),
        }
    }
}

/// Whether the caller may act as a user of the shop.
///
/// # Errors
/// When the credential is narrower than a sign-in, and not an admin's.
pub fn check_user(caller: &Caller) -> Result<(), ApiError> {
    if caller.full_session || caller.may(Scope::Admin) { Ok(()) } else { Err(AccessRefusal::NotSignedIn.into()) }
}

/// Whether the caller may manage the shop.
///
/// # Errors
/// When the credential lacks the scope `admin`.
pub fn check_admin(caller: &Caller) -> Result<(), ApiError> {
    if caller.may(Scope::Admin) { Ok(()) } else { Err(AuthError::MissingScope(Scope::Admin).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(scopes: &[Scope], full_session: bool) -> Caller {
        let tenant = contracts::TenantId::shared();
        Caller { full_session, ..Caller::new(tenant, scopes.to_vec()) }
    }

    #[test]
    fn only_a_sign_in_or_an_admin_uses_the_shop() {
        let user = Scope::allowed_for(store::relational::Role::User);
        assert!(check_user(&caller(user, true)).is_ok());
        assert!(check_user(&caller(&[Scope::Admin], false)).is_ok());
        for narrow in [caller(user, false), caller(&[Scope::FramesWrite], false), caller(&[], false)] {
            let refused = check_user(&narrow).map_err(|error| (error.status(), error.code()));
            assert_eq!(refused, Err((StatusCode::FORBIDDEN, "forbidden")));
        }
    }

    #[test]
    fn only_the_scope_admin_manages_the_shop() {
        assert!(check_admin(&caller(&[Scope::Admin], false)).is_ok());
        let user = Scope::allowed_for(store::relational::Role::User);
        let refused = check_admin(&caller(user, true)).map_err(|error| (error.status(), error.code()));
        assert_eq!(refused, Err((StatusCode::FORBIDDEN, "forbidden")));
    }
}
