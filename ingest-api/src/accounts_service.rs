//! Accounts in this service: authentication, and the users that the account routes manage.

use std::sync::Arc;
use std::time::Duration;

use accounts::{
    AccountArgs, Accounts, AdminToken, Clock, Hashing, LocalLimits, LocalSessions, LogMailer, Mailer, PasswordRules,
    Rate, RateLimits, RedisLimits, RedisSessions, SessionCache, Settings, SmtpMailer, StoredAccounts, Throttle,
    TokenArgs, WithOperator,
};
use store::Relational;
use tokio_util::sync::CancellationToken;

/// Users, their database and settings. Cheap to clone.
#[derive(Clone)]
pub struct AccountsService {
    /// Users, and what they sign in with.
    pub users: Arc<StoredAccounts>,
    /// The database of accounts.
    pub database: Relational,
    /// The settings of accounts.
    pub settings: Arc<Settings>,
}

/// What instances share besides the database: rate limits and opaque sessions.
pub struct Shared {
    limits: Arc<dyn RateLimits>,
    sessions: Arc<dyn SessionCache>,
}

impl Shared {
    /// In memory, for a single process.
    pub fn in_process() -> Self {
        Self { limits: Arc::new(LocalLimits::default()), sessions: Arc::new(LocalSessions::default()) }
    }

    /// In the Redis at this URL. It need not be up yet.
    ///
    /// # Errors
    /// When the URL is invalid.
    pub fn redis(url: &str) -> anyhow::Result<Self> {
        let limits = RedisLimits::new(url).map_err(anyhow::Error::msg)?;
        let sessions = RedisSessions::new(url).map_err(anyhow::Error::msg)?;
        Ok(Self { limits: Arc::new(limits), sessions: Arc::new(sessions) })
    }
}

impl AccountsService {
    /// Opens the accounts of a database whose schema is up to date.
    ///
    /// # Errors
    /// When the database cannot be read, or a setting is invalid.
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

    /// Authenticates these users, and the operator by its own token.
    ///
    /// # Errors
    /// When the operator's token is too short to be safe.
    pub fn with_operator(&self, token: &str) -> anyhow::Result<Arc<dyn Accounts>> {
        let operator = AdminToken::new(token).map_err(|error| anyhow::anyhow!("SIGHTLINE_ADMIN_TOKEN: {error}"))?;
        Ok(Arc::new(WithOperator::new(operator, self.users.clone())))
    }

    /// Runs the background tasks until `stop`.
    ///
    /// # Errors
    /// Never. The type is that of the other tasks of a service.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        self.users.run(stop).await;
        Ok(())
    }
}

/// The mailer of the settings. Without an SMTP server, mails go to the log.
///
/// # Errors
/// When the URL of the server or the address of the sender is invalid.
pub fn mailer(accounts: &AccountArgs) -> anyhow::Result<Arc<dyn Mailer>> {
    let Some(url) = &accounts.smtp_url else { return Ok(Arc::new(LogMailer)) };
    let mailer = SmtpMailer::new(url.expose(), &accounts.mail_from).map_err(anyhow::Error::msg)?;
    Ok(Arc::new(mailer))
}

/// The settings of accounts, from those of the service.
pub fn settings(tokens: &TokenArgs, accounts: &AccountArgs) -> Settings {
    let usual = Settings::default();
    Settings {
        issuer: tokens.token_issuer.clone(),
        audience: tokens.token_audience.clone(),
        access_token_life: tokens.access_token_life,
        rate_limit: tokens.rate_limit_rps.0,
        session_life: accounts.session_life,
        refresh_grace: accounts.refresh_grace,
        opaque_session_life: accounts.opaque_session_life,
        reset_life: accounts.reset_life,
        reset_url: accounts.reset_url.clone(),
        passwords: PasswordRules {
            min_length: accounts.password_min_length.into(),
            refuse_common: accounts.password_refuse_common,
        },
        hashing: Hashing {
            memory_kib: accounts.password_hash_memory_kib,
            passes: accounts.password_hash_passes,
            threads: accounts.password_hash_threads.map_or(usual.hashing.threads, std::num::NonZero::get),
            ..usual.hashing
        },
        quota: accounts.api_request_quota.0,
        quota_period: accounts.api_request_quota_period,
        throttle: Throttle {
            address: per_minute(accounts.sign_ins_per_address),
            tokens: per_minute(accounts.sign_ins_per_address.saturating_mul(TOKENS_PER_SIGN_IN)),
            ..usual.throttle
        },
        ..usual
    }
}

/// Requests with tokens that one address may make for each sign-in.
const TOKENS_PER_SIGN_IN: u32 = 10;

/// A rate per minute, five sixths of which may come at once.
fn per_minute(many: u32) -> Rate {
    Rate::new(Duration::from_secs(60) / many.max(1), (many / 6 * 5).max(1))
}
