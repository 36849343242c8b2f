//! How accounts behave, with what is usual.

use std::time::Duration;

use crate::limits::Rate;

/// How accounts behave.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who issues access tokens: the address under which clients know this system.
    pub issuer: String,
    /// For whom they are.
    pub audience: String,
    /// How long an access token is valid.
    pub access_token_life: Duration,
    /// How long a session lives on after it was last renewed.
    pub session_life: Duration,
    /// How long after a refresh token was spent its use again is taken for two tabs or a lost answer.
    pub refresh_grace: Duration,
    /// How long an opaque session lives.
    pub opaque_session_life: Duration,
    /// How long a token for setting a new password is valid.
    pub reset_life: Duration,
    /// The page that a mailed reset token is appended to.
    pub reset_url: String,
    /// How long a signing key signs before the next one does.
    pub signing_key_life: Duration,
    /// How long a signing key is published before it signs: longer than anybody keeps a copy of the published ones.
    pub signing_key_lead: Duration,
    /// How often instances ask what was taken back.
    pub poll: Duration,
    /// How long nobody may be able to tell what was taken back before nothing is accepted any more.
    pub closed_after: Duration,
    /// What a password must be.
    pub passwords: PasswordRules,
    /// How passwords are hashed.
    pub hashing: Hashing,
    /// Requests of a period where a user has no quota of its own; none without a limit.
    pub quota: Option<u32>,
    /// What a period is.
    pub quota_period: QuotaPeriod,
    /// Requests a second where a user has no limit of its own; none without a limit.
    pub rate_limit: Option<u32>,
    /// How sign-ins are slowed down.
    pub throttle: Throttle,
}

impl Default for Settings {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        Self {
            issuer: "http://127.0.0.1:8080".to_owned(),
            audience: "sightline".to_owned(),
            access_token_life: Duration::from_secs(15 * MINUTE),
            session_life: Duration::from_secs(30 * DAY),
            refresh_grace: Duration::from_secs(10),
            opaque_session_life: Duration::from_secs(DAY),
            reset_life: Duration::from_secs(30 * MINUTE),
            reset_url: "http://127.0.0.1:8080/reset".to_owned(),
            signing_key_life: Duration::from_secs(30 * DAY),
            signing_key_lead: Duration::from_secs(60 * MINUTE),
            poll: Duration::from_millis(500),
            closed_after: Duration::from_secs(30),
            passwords: PasswordRules::default(),
            hashing: Hashing::default(),
            quota: Some(100),
            quota_period: QuotaPeriod::Month,
            rate_limit: Some(10),
            throttle: Throttle::default(),
        }
    }
}

impl Settings {
    /// When no access token that is issued now is valid any more, on any instance's clock.
    pub(crate) fn all_over(&self, now: jiff::Timestamp) -> jiff::Timestamp {
        // What is cached of an API token lives no longer than an access token, and no shorter than this.
        now + (self.access_token_life + crate::access_tokens::LEEWAY).max(crate::stored::CACHED)
    }

    /// When nothing that a user can have now is valid any more.
    pub(crate) fn user_over(&self, now: jiff::Timestamp) -> jiff::Timestamp {
        self.all_over(now).max(now + self.opaque_session_life + crate::access_tokens::LEEWAY)
    }
}

/// What a password must be.
#[derive(Debug, Clone, Copy)]
pub struct PasswordRules {
    /// Fewest characters.
    pub min_length: usize,
    /// Whether those that many people use are refused.
    pub refuse_common: bool,
}

impl Default for PasswordRules {
    fn default() -> Self {
        Self { min_length: 8, refuse_common: true }
    }
}

/// The cost of Argon2id, as the Open Worldwide Application Security Project advises, and what may be spent on it.
#[derive(Debug, Clone, Copy)]
pub struct Hashing {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Threads that hash.
    pub threads: usize,
    /// Passwords that may wait for one of them; more are refused.
    pub waiting: usize,
}

impl Default for Hashing {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // A quarter of the machine: the rest is for frames.
        Self { memory_kib: 19_456, passes: 2, threads: (cores / 4).max(1), waiting: 64 }
    }
}

/// Time after which a quota starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum QuotaPeriod {
    /// A day, UTC.
    Day,
    /// A month, UTC.
    Month,
    /// All time.
    Total,
}

/// How sign-ins are slowed down. An attempt must find room in all that concern it.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    /// On one account from one address.
    pub pair: Rate,
    /// From one address.
    pub address: Rate,
    /// From one address, with refresh tokens and tokens to be taken back. Those who have one are many behind one address, and no
    /// password is hashed.
    pub tokens: Rate,
    /// On one account, from all addresses from which it has not been signed in lately.
    pub account: Rate,
    /// Mails to one user for setting a new password. Whoever has as many is mailed no more for a while; those are still good.
    pub mails: Rate,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            // Slower than an account's own, so that one address alone does not use that up.
            pair: Rate::new(Duration::from_secs(60), 10),
            address: Rate::new(Duration::from_millis(500), 100),
            tokens: Rate::new(Duration::from_millis(50), 1000),
            account: Rate::new(Duration::from_secs(30), 50),
            mails: Rate::new(Duration::from_secs(300), 4),
        }
    }
}
