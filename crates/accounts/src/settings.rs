//! Settings of accounts, with their defaults.

use std::time::Duration;

use crate::limits::Rate;

/// Settings of accounts, issuing included.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `iss` of access tokens: the address under which clients know this system.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Validity of an access token.
    pub access_token_life: Duration,
    /// Validity of a session after its last renewal.
    pub session_life: Duration,
    /// Time after the use of a refresh token in which a second use is refused without ending the
    /// session: two tabs may refresh at once, or a response may be lost.
    pub refresh_grace: Duration,
    /// Validity of an opaque session.
    pub opaque_session_life: Duration,
    /// Validity of a reset token.
    pub reset_life: Duration,
    /// Address of the page for a new password; the reset token is appended to it.
    pub reset_url: String,
    /// Time for which a signing key signs.
    pub signing_key_life: Duration,
    /// Time for which a signing key is published before it signs. Longer than clients cache the published keys.
    pub signing_key_lead: Duration,
    /// Period of reading the revocations.
    pub revocation_poll: Duration,
    /// Age of the last read of revocations at which every credential is refused.
    pub revocations_stale_after: Duration,
    /// Whether everyone may register; otherwise only an admin adds users.
    pub registration: bool,
    /// Rules for new passwords.
    pub passwords: PasswordRules,
    /// Cost of hashing passwords.
    pub hashing: Hashing,
    /// Frames per period of a user without a quota of its own; `None` without a limit.
    pub quota: Option<u32>,
    /// The period of quotas.
    pub quota_period: QuotaPeriod,
    /// Requests per second of a user without a limit of its own; `None` without a limit.
    pub rate_limit: Option<u32>,
    /// Limits on sign-ins.
    pub throttle: Throttle,
}

/// Settings of a [`TokenVerifier`](crate::TokenVerifier).
#[derive(Debug, Clone)]
pub struct VerifierSettings {
    /// `iss` of access tokens.
    pub issuer: String,
    /// `aud` of access tokens.
    pub audience: String,
    /// Period of reading the revocations.
    pub revocation_poll: Duration,
    /// Age of the last read of revocations at which every credential is refused.
    pub revocations_stale_after: Duration,
    /// Frames per period of a user without a quota of its own; `None` without a limit.
    pub quota: Option<u32>,
    /// The period of quotas.
    pub quota_period: QuotaPeriod,
    /// Requests per second of a user without a limit of its own; `None` without a limit.
    pub rate_limit: Option<u32>,
}

impl Default for VerifierSettings {
    fn default() -> Self {
        Settings::default().verifier()
    }
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
            revocation_poll: Duration::from_millis(500),
            revocations_stale_after: Duration::from_secs(30),
            registration: true,
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
    /// The settings that a verifier needs.
    pub fn verifier(&self) -> VerifierSettings {
        VerifierSettings {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            revocation_poll: self.revocation_poll,
            revocations_stale_after: self.revocations_stale_after,
            quota: self.quota,
            quota_period: self.quota_period,
            rate_limit: self.rate_limit,
        }
    }

    /// The time at which every access token of now has expired, on every instance's clock.
    pub(crate) fn access_tokens_expired_by(&self, now: jiff::Timestamp) -> jiff::Timestamp {
        // The longer of the lifetimes of an access token and of the cache of API tokens.
        now + (self.access_token_life + crate::access_tokens::LEEWAY).max(crate::verifier::CACHE_TTL)
    }

    /// The time at which every access token, opaque session and link of now has expired.
    pub(crate) fn all_credentials_expired_by(&self, now: jiff::Timestamp) -> jiff::Timestamp {
        let opaque_sessions = now + self.opaque_session_life + crate::access_tokens::LEEWAY;
        let links = now + crate::links::LONGEST_LIFE + crate::access_tokens::LEEWAY;
        self.access_tokens_expired_by(now).max(opaque_sessions).max(links)
    }
}

/// Rules for new passwords.
#[derive(Debug, Clone, Copy)]
pub struct PasswordRules {
    /// Minimum length in characters, after normalisation.
    pub min_length: usize,
    /// Whether commonly used passwords are refused.
    pub refuse_common: bool,
}

impl Default for PasswordRules {
    fn default() -> Self {
        Self { min_length: 8, refuse_common: true }
    }
}

/// Cost of Argon2id, as the Open Worldwide Application Security Project advises, and the threads for it.
#[derive(Debug, Clone, Copy)]
pub struct Hashing {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Number of hashing threads.
    pub threads: usize,
    /// Maximum number of passwords that wait for a thread; further ones are refused.
    pub waiting: usize,
}

impl Default for Hashing {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // A quarter of the cores: the rest is for frames.
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

/// Limits on sign-ins. An attempt is allowed only if no limit that applies to it is reached.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    /// On one account from one address.
    pub pair: Rate,
    /// From one address; `None` without a limit.
    pub address: Option<Rate>,
    /// Renewals and revocations from one address; `None` without a limit. Higher than `address`: many users may share an address, and no
    /// password is hashed.
    pub tokens: Option<Rate>,
    /// On one account, from all addresses without a recent sign-in to it.
    pub account: Rate,
    /// Reset mails to one user. Beyond it no further mail is sent; earlier tokens stay valid.
    pub mails: Rate,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            // Lower than the account's limit, so that one address alone cannot use it up.
            pair: Rate::new(Duration::from_secs(60), 10),
            address: Some(Rate::new(Duration::from_millis(500), 100)),
            tokens: Some(Rate::new(Duration::from_millis(50), 1000)),
            account: Rate::new(Duration::from_secs(30), 50),
            mails: Rate::new(Duration::from_secs(300), 4),
        }
    }
}
