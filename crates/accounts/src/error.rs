//! Why something with an account did not come about.

use std::time::Duration;

use store::StoreError;

use crate::caller::Right;

/// Why something with an account did not come about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// There is no such user, or its password is another, or it is shut out: which of them is not told.
    #[error("the name or the password is wrong")]
    WrongPassword,
    /// The refresh token is unknown, spent or past its time.
    #[error("the refresh token is not valid; sign in again")]
    InvalidGrant,
    /// Whoever asks was signed out or shut out meanwhile.
    #[error("the sign-in has ended; sign in again")]
    SignedOut,
    /// The token for setting a password is unknown, spent or past its time.
    #[error("this link is not valid any more; ask for another one")]
    InvalidReset,
    /// Too many attempts.
    #[error("there were too many attempts; wait and try again")]
    Throttled {
        /// When there may be another.
        retry_after: Duration,
    },
    /// A value cannot be used.
    #[error("{reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What would be right.
        reason: String,
    },
    /// Another user has the name.
    #[error("this user name is taken")]
    UsernameTaken,
    /// Another user has the address.
    #[error("this e-mail address is taken")]
    EmailTaken,
    /// Nobody signs in as this person, and only an admin adds users.
    #[error("nobody here signs in this way yet, and only an admin adds users")]
    NotRegistered,
    /// An admin has shut the user out.
    #[error("this user is disabled; ask the operator")]
    ShutOut,
    /// Another user signs in as this person.
    #[error("another user signs in this way")]
    IdentityTaken,
    /// There is none of this id, or it is somebody else's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// There are as many as there may be.
    #[error("there are {0} already; delete one first")]
    TooMany(u32),
    /// The user may not pass this on.
    #[error("the scope {0} is not yours to give")]
    ScopeNotAllowed(Right),
    /// The user may do nothing of what it asks for.
    #[error("none of the scopes is this user's; leave them out for all that it may")]
    NothingAllowed,
    /// More sign in at this moment than can be served.
    #[error("too many sign in at this moment; try again soon")]
    Busy,
    /// What accounts are kept in cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// A defect of ours, or of what is stored.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            StoreError::Fatal(cause) => Self::Internal(cause),
        }
    }
}
