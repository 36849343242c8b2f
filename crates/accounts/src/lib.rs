//! Who may do what: the caller behind a credential, with tenant, scopes, quota and limits. No HTTP.
//!
//! ```text
//!                  ┌ AdminToken        the operator's own token
//! token ─▶ Accounts┤
//!    Caller ◀─     └ StoredAccounts ─▶ access token: Keyring verifies, Feed tells whether it was taken back
//!                                   └▶ API token: the store, by its hash
//! ```
//!
//! In: the secret that a request carries, or a name and password. Out: a [`Caller`], or why not. Services know only the seam
//! [`Accounts`]; who registers, signs in and manages users talks to [`StoredAccounts`], which keeps everything in
//! [`store::Relational`]. Promised: no secret is kept or logged in the clear; what was taken back is refused by every instance
//! within a second, and while nobody can tell what was, everything is refused; a request whose token is good costs no query
//! of the database; many who sign in do not slow down who is signed in.

mod access_tokens;
mod admin_token;
mod api_tokens;
mod args;
mod background;
mod caller;
mod clock;
mod error;
mod feed;
mod keyring;
pub mod limits;
mod mail;
mod opaque;
mod passwords;
mod quota;
mod resets;
mod secret;
mod settings;
mod sign_in;
mod stored;
mod throttle;
mod users;
mod vouched;
mod with_operator;

pub use admin_token::{AdminToken, generate_token};
pub use args::{AccountArgs, AdminTokenArgs, LimitOrNone, RedisArgs, TokenArgs};
pub use caller::{Caller, Right, UnknownScope};
pub use clock::Clock;
pub use error::AccountError;
pub use limits::{Decision, LocalLimits, Rate, RateLimits, RedisLimits};
pub use mail::{LogMailer, Mail, Mailer, SmtpMailer};
pub use opaque::{LocalSessions, RedisSessions, SessionCache};
pub use quota::QuotaState;
pub use secret::Secret;
pub use settings::{Hashing, PasswordRules, QuotaPeriod, Settings, Throttle};
pub use sign_in::{Grant, Origin, TokenState};
pub use stored::{By, Deps, StoredAccounts};
pub use users::{Granted, Profile, Registration};
pub use vouched::Vouched;
pub use with_operator::WithOperator;

use std::time::Duration;

use async_trait::async_trait;
use contracts::FrameId;

/// Why a caller may not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No such credential, or one that ended.
    #[error("the token is not valid; sign in again or use another one")]
    InvalidCredential,
    /// The caller used up what it may send.
    #[error("the quota is used up; ask the operator for more")]
    QuotaExceeded {
        /// When it may send again, if ever.
        resets_at: Option<jiff::Timestamp>,
    },
    /// The caller asks too often.
    #[error("there may be {limit} requests a second; wait and try again")]
    RateLimited {
        /// Requests a second.
        limit: u32,
        /// When the next one may come.
        retry_after: Duration,
    },
    /// Whether the caller may go on cannot be found out now.
    #[error("{0}")]
    Unavailable(String),
}

/// The seam to everything that knows accounts. Cheap to share as `Arc<dyn Accounts>`.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Who stands behind a bearer token.
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError>;

    /// Counts one request of a caller; what is left, if there is a limit.
    async fn admit(&self, _caller: &Caller) -> Result<Option<Decision>, AccessError> {
        Ok(None)
    }

    /// Charges one frame to the caller's quota. The same frame id again costs nothing.
    async fn charge(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError>;

    /// Gives back what one charge took, for a request that was refused after all.
    async fn refund(&self, _caller: &Caller, _frame: FrameId) -> Result<(), AccessError> {
        Ok(())
    }

    /// Succeeds when callers can be told from strangers.
    async fn check(&self) -> Result<(), AccessError>;
}
