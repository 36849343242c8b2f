//! Accounts as this service works with them: who may pass, and everything that the account routes manage.

use std::sync::Arc;
use std::time::Duration;

use accounts::{
    Accounts, AdminToken, Clock, Hashing, LocalLimits, LocalSessions, LogMailer, Mailer, PasswordRules, QuotaPeriod,
    Rate, RateLimits, RedisLimits, RedisSessions, SessionCache, Settings, SmtpMailer, StoredAccounts, Throttle,
    WithOperator,
};
use platform::config::{AccountArgs, Period, TokenArgs};
use store::Relational;
use tokio_util::sync::CancellationToken;

/// Everything about accounts. Cheap to clone.
#[derive(Clone)]
pub struct Directory {
    /// Users, and what they sign in with.
    pub users: Arc<StoredAccounts>,
    /// Where they are kept.
    pub database: Relational,
    /// How they behave.
    pub settings: Arc<Settings>,
}

/// What instances share besides the database, or what stands for it in one process.
pub struct Shared {
    limits: Arc<dyn RateLimits>,
    sessions: Arc<dyn SessionCache>,
}

impl Shared {
    /// Nothing is shared: for a product that is one process.
    pub fn in_process() -> Self {
        Self { limits: Arc::new(LocalLimits::default()), sessions: Arc::new(LocalSessions::default()) }
    }

    /// Limits and sessions are in the Redis at this address, whether or not it is there yet.
    ///
    /// # Errors
    /// When the address is none.
    pub fn redis(url: &str) -> anyhow::Result<Self> {
        let limits = RedisLimits::new(url).map_err(anyhow::Error::msg)?;
        let sessions = RedisSessions::new(url).map_err(anyhow::Error::msg)?;
        Ok(Self { limits: Arc::new(limits), sessions: Arc::new(sessions) })
    }
}

impl Directory {
    /// Accounts in a database whose tables are there.
    ///
    /// # Errors
    /// Says what cannot be used or reached.
    pub async fn open(
        database: Relational,
        settings: Settings,
        shared: Shared,
        mailer: Arc<dyn Mailer>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let Shared { limits, sessions } = shared;
        let deps = accounts::Deps { limits, sessions, mailer, clock };
        let users = StoredAccounts::open(database.clone(), settings.clone(), deps).await.map_err(anyhow::Error::msg)?;
        Ok(Self { users: Arc::new(users), database, settings: Arc::new(settings) })
    }

    /// Who may pass: these users, and the operator by its own token.
    ///
    /// # Errors
    /// When the operator's token is too short to be safe.
    pub fn with_operator(&self, token: &str) -> anyhow::Result<Arc<dyn Accounts>> {
        let operator = AdminToken::new(token).map_err(|error| anyhow::anyhow!("SIGHTLINE_ADMIN_TOKEN: {error}"))?;
        Ok(Arc::new(WithOperator::new(operator, self.users.clone())))
    }

    /// Does what has to go on beside requests, until `stop`.
    ///
    /// # Errors
    /// Never; the type is that of a service's other parts.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        self.users.run(stop).await;
        Ok(())
    }
}

/// What delivers mail, by the settings: without a server it goes to the log.
///
/// # Errors
/// When the server's address or the sender's is none.
pub fn mailer(accounts: &AccountArgs) -> anyhow::Result<Arc<dyn Mailer>> {
    let Some(url) = &accounts.smtp_url else { return Ok(Arc::new(LogMailer)) };
    let mailer = SmtpMailer::new(url.expose(), &accounts.mail_from).map_err(anyhow::Error::msg)?;
    Ok(Arc::new(mailer))
}

/// How accounts behave, by the settings.
pub fn settings(tokens: &TokenArgs, accounts: &AccountArgs) -> Settings {
    let usual = Settings::default();
    Settings {
        issuer: tokens.token_issuer.clone(),
        audience: tokens.token_audience.clone(),
        access_token_life: Duration::from_secs(tokens.access_token_seconds),
        rate_limit: tokens.rate_limit_rps.0,
        session_life: Duration::from_secs(accounts.session_days * 24 * 60 * 60),
        refresh_grace: Duration::from_secs(accounts.refresh_grace_seconds),
        opaque_session_life: Duration::from_secs(accounts.opaque_session_seconds),
        reset_life: Duration::from_secs(accounts.reset_minutes * 60),
        reset_url: accounts.reset_url.clone(),
        passwords: PasswordRules {
            min_length: accounts.password_min_length.into(),
            refuse_common: accounts.password_refuse_common.is_on(),
        },
        hashing: Hashing {
            memory_kib: accounts.password_hash_memory_kib,
            passes: accounts.password_hash_passes,
            threads: accounts.password_hash_threads.map_or(usual.hashing.threads, std::num::NonZero::get),
            ..usual.hashing
        },
        quota: accounts.api_request_quota.0,
        quota_period: match accounts.api_request_quota_period {
            Period::Day => QuotaPeriod::Day,
            Period::Month => QuotaPeriod::Month,
            Period::Total => QuotaPeriod::Total,
        },
        throttle: Throttle {
            address: per_minute(accounts.sign_ins_per_address),
            tokens: per_minute(accounts.sign_ins_per_address.saturating_mul(TOKENS_FOR_A_SIGN_IN)),
            ..usual.throttle
        },
        ..usual
    }
}

/// How many more requests with tokens one address may make than sign-ins.
const TOKENS_FOR_A_SIGN_IN: u32 = 10;

/// So many a minute, most of which may come at once.
fn per_minute(many: u32) -> Rate {
    Rate::new(Duration::from_secs(60) / many.max(1), (many / 6 * 5).max(1))
}
