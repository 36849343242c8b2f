//! Accounts: users, credentials, scopes, quotas and limits. No HTTP.
//!
//! ```text
//!                  ┌ AdminToken     the operator's own token
//! token ─▶ Accounts┤
//!    Caller ◀─     └ TokenVerifier ─▶ access token: public keys verify it; RevocationCache has the revocations
//!                                  └▶ API token: the store, by its hash
//!
//! registration, sign-in, reset, administration ─▶ AccountsService (contains a TokenVerifier) ─▶ store::Relational
//! ```
//!
//! In: the credential of a request, or a name and password. Out: a [`Caller`], or the reason for a refusal. A service that only
//! verifies runs a [`TokenVerifier`]; a service that registers users and issues credentials runs an [`AccountsService`].
//! Guarantees: no credential is stored or logged in plain text; every instance refuses a revoked credential within a second, and
//! refuses every credential while revocations cannot be read; a request with a valid token costs no query; many sign-ins do not
//! slow down requests.

mod access_tokens;
mod account_settings;
mod admin_token;
mod answers;
mod api_tokens;
mod args;
mod audit;
mod caller;
mod clock;
mod erasure;
mod error;
mod federated;
mod interval;
mod introspection;
pub mod limits;
mod links;
mod mail;
mod maintenance;
mod names;
mod opaque;
mod passwords;
mod profile;
mod quota;
mod redis_keys;
mod redis_link;
mod resets;
mod revocation_cache;
mod secret_text;
mod service;
mod sessions;
mod settings;
mod sign_in;
mod signing_keys;
mod throttle;
mod users;
mod verifier;
mod verifying_keys;
mod with_admin_token;

pub use admin_token::{AdminToken, generate_token};
pub use answers::RedisAnswers;
pub use args::{AccountArgs, AdminTokenArgs, LimitOrNone, RedisArgs, TokenArgs};
pub use audit::Actor;
pub use caller::{Caller, Scope, UnknownScope};
pub use clock::Clock;
pub use error::AccountError;
pub use federated::FederatedIdentity;
pub use introspection::{TokenState, ValidToken};
pub use limits::{LocalLimits, Rate, RateLimitDecision, RateLimits, RedisLimits};
pub use links::{LinkKind, VerifiedLink};
pub use mail::{LogMailer, Mail, Mailer, SmtpMailer};
pub use opaque::{LocalSessions, RedisSessions, SessionCache};
pub use profile::Profile;
pub use quota::QuotaState;
pub use redis_keys::redis_keys_with;
pub use secret_text::SecretText;
pub use service::{AccountsService, Deps, SharedState};
pub use settings::{Hashing, PasswordRules, QuotaPeriod, Settings, Throttle, VerifierSettings};
pub use sign_in::{IssuedTokens, Origin};
pub use users::{Registration, UserAccess};
pub use verifier::TokenVerifier;
pub use with_admin_token::WithAdminToken;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::FrameId;

/// A caller is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The credential is unknown, revoked or expired.
    #[error("the token is not valid; sign in again or use another one")]
    InvalidCredential,
    /// The caller's quota is used up.
    #[error("the quota is used up; ask the operator for more")]
    QuotaExceeded {
        /// Start of the next period; `None` for a quota of all time.
        resets_at: Option<jiff::Timestamp>,
    },
    /// The caller's rate limit is reached.
    #[error("the rate limit is {limit} requests per second; wait and try again")]
    RateLimited {
        /// Requests per second.
        limit: u32,
        /// Time until the next request is allowed.
        retry_after: Duration,
    },
    /// The store or Redis cannot be read, so the caller cannot be verified.
    #[error("{0}")]
    Unavailable(String),
    /// The disk of the store is full, so a charge or refund cannot be written.
    #[error("{0}")]
    DiskFull(String),
}

/// Verifies callers and limits what they send. Shared as `Arc<dyn Accounts>`.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// The caller behind a bearer token.
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError>;

    /// Counts one request of a caller. Returns the state of its rate limit; `None` without one.
    async fn admit(&self, _caller: &Caller) -> Result<Option<RateLimitDecision>, AccessError> {
        Ok(None)
    }

    /// Charges one frame to the caller's quota. A repeat with the same frame id costs nothing.
    async fn charge(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError>;

    /// Gives back one charge, for a request that failed afterwards.
    async fn refund(&self, _caller: &Caller, _frame: FrameId) -> Result<(), AccessError> {
        Ok(())
    }

    /// Succeeds while callers can be verified.
    async fn check(&self) -> Result<(), AccessError>;

    /// The rate limits, if all instances share them. Callers are served while their check fails.
    fn shared_limits(&self) -> Option<Arc<dyn RateLimits>> {
        None
    }
}
