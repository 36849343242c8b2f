//! Who may do what: the caller behind a credential, with tenant, scopes and quota. No HTTP.
//!
//! In: the secret that a request carries. Out: a [`Caller`], or why not. Services know only the seam [`Accounts`]; the one
//! implementation so far is [`AdminToken`], the single credential that `sightline up` makes or an operator sets.

mod admin_token;
mod caller;

pub use admin_token::{AdminToken, generate_token};
pub use caller::{Caller, Right};

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
    QuotaExceeded,
    /// Whether the caller may go on cannot be found out now.
    #[error("{0}")]
    Unavailable(String),
}

/// The seam to everything that knows accounts. Cheap to share as `Arc<dyn Accounts>`.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Who stands behind a bearer token.
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError>;

    /// Charges one frame to the caller's quota. The same frame id again costs nothing.
    async fn charge(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError>;

    /// Succeeds when callers can be told from strangers.
    async fn check(&self) -> Result<(), AccessError>;
}
