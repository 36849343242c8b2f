//! Errors of operations on accounts.

use std::time::Duration;

use store::StoreError;

use crate::caller::Scope;

/// An operation on an account failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// A sign-in was refused: no such user, a wrong password, or a disabled user. The response does not reveal which.
    #[error("the name or the password is wrong")]
    WrongPassword,
    /// The change of an account requires the current password, and the given one is wrong.
    #[error("the present password is wrong")]
    WrongPresentPassword,
    /// The refresh token is unknown, spent or expired.
    #[error("the refresh token is not valid; sign in again")]
    InvalidGrant,
    /// The session ended, or the user was disabled, during the request.
    #[error("the sign-in has ended; sign in again")]
    SignedOut,
    /// The reset token is unknown, spent or expired.
    #[error("this link is no longer valid; request another one")]
    InvalidReset,
    /// A limit on attempts is reached.
    #[error("there were too many attempts; wait and try again")]
    Throttled {
        /// Time until the next attempt is allowed.
        retry_after: Duration,
    },
    /// A value is not valid.
    #[error("{reason}")]
    Invalid {
        /// The field's name in the public interface.
        field: &'static str,
        /// Description of a valid value.
        reason: String,
    },
    /// Another user has the user name.
    #[error("this user name is taken")]
    UsernameTaken,
    /// Another user has the e-mail address.
    #[error("this e-mail address is taken")]
    EmailTaken,
    /// Only an admin adds users.
    #[error("only an admin can add users; ask the operator")]
    RegistrationClosed,
    /// A federated identity has the e-mail address of a user that is not linked to it.
    #[error(
        "a user with this e-mail address exists: sign in with its password (POST /v1/password/forgot sets a new one), then link \
         the identity by POST /v1/users/me/identities"
    )]
    NotLinked,
    /// No user is linked to the federated identity, and registration is closed.
    #[error("no user is linked to this identity, and only an admin can add users")]
    NotRegistered,
    /// The user is disabled. Only a federated sign-in returns it, after the provider has verified the user.
    #[error("this user is disabled; ask the operator")]
    Disabled,
    /// Another user is linked to the federated identity.
    #[error("another user is linked to this identity")]
    IdentityTaken,
    /// The operator's own user cannot be deleted.
    #[error("the operator's own user cannot be deleted; it can be disabled")]
    OperatorUser,
    /// The operator's own user would lock itself out.
    #[error("the operator's own user cannot disable itself or give up the role admin; another admin can do it")]
    OperatorLockout,
    /// No object of this kind has the id, or another user owns it.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The user has the maximum number of API tokens.
    #[error("there are already {0}; delete one first")]
    TooMany(u32),
    /// The caller requests a scope that it does not have.
    #[error("you do not have the scope {0}, so you cannot grant it")]
    ScopeNotAllowed(Scope),
    /// The user has none of the requested scopes.
    #[error("this user has none of the requested scopes; omit them to get all that it has")]
    NothingAllowed,
    /// The queue of the hashing threads is full.
    #[error("too many sign in at this moment; try again soon")]
    Busy,
    /// The store cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// The disk of the store is full.
    #[error("{0}")]
    DiskFull(String),
    /// A defect of this program or of stored data.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            StoreError::DiskFull(cause) => Self::DiskFull(cause),
            StoreError::Misconfigured(cause) | StoreError::Fatal(cause) => Self::Internal(cause),
        }
    }
}
