//! Converts the settings of this service to those of the crate `accounts`.

use std::sync::Arc;
use std::time::Duration;

use accounts::{
    AccountArgs, Hashing, LogMailer, Mailer, PasswordRules, Rate, Settings, SmtpMailer, Throttle, TokenArgs,
};

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
    let defaults = Settings::default();
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
            threads: accounts.password_hash_threads.map_or(defaults.hashing.threads, std::num::NonZero::get),
            ..defaults.hashing
        },
        quota: accounts.api_request_quota.0,
        quota_period: accounts.api_request_quota_period,
        throttle: Throttle {
            address: per_minute(accounts.sign_ins_per_address),
            tokens: per_minute(accounts.sign_ins_per_address.saturating_mul(TOKENS_PER_SIGN_IN)),
            ..defaults.throttle
        },
        ..defaults
    }
}

/// Number of token requests that are allowed per allowed sign-in of an address.
const TOKENS_PER_SIGN_IN: u32 = 10;

/// A rate per minute, with a burst of five sixths of it.
fn per_minute(count: u32) -> Rate {
    Rate::new(Duration::from_secs(60) / count.max(1), (count / 6 * 5).max(1))
}
