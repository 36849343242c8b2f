//! Settings of accounts: tokens, passwords, quotas, mail, Redis and the admin token.

use std::num::NonZero;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Args};
use lettre::message::Mailbox;
use settings::{Check, Secret, SettingErrors, required, secret_url};

use crate::{AdminToken, QuotaPeriod};

const REDIS_EXAMPLE: &str = "redis://host:6379";
/// Those that the client library knows.
const REDIS_SCHEMES: &[&str] = &["redis", "rediss", "valkey", "valkeys", "unix", "redis+unix", "valkey+unix"];

/// Connection to Redis.
#[derive(Debug, Clone, Args)]
pub struct RedisArgs {
    /// URL of Redis, through which all instances share rate limits, the sessions of POST /login and cached answers
    #[arg(long, env = "SIGHTLINE_REDIS_URL", value_name = "URL", value_parser = secret_url(REDIS_SCHEMES, REDIS_EXAMPLE))]
    pub redis_url: Option<Secret>,
}

impl RedisArgs {
    /// # Errors
    /// When the URL is not set.
    pub fn url(&self) -> anyhow::Result<&Secret> {
        required(self.redis_url.as_ref(), "SIGHTLINE_REDIS_URL", REDIS_EXAMPLE)
    }
}

/// The admin token.
#[derive(Debug, Clone, Args)]
pub struct AdminTokenArgs {
    /// API token of the operator, at least 32 bytes; use SIGHTLINE_ADMIN_TOKEN_FILE to read it from a file
    #[arg(long, env = "SIGHTLINE_ADMIN_TOKEN", value_name = "TOKEN")]
    pub admin_token: Option<Secret>,
}

impl AdminTokenArgs {
    /// # Errors
    /// When the token is not set.
    pub fn token(&self) -> anyhow::Result<&Secret> {
        required(self.admin_token.as_ref(), "SIGHTLINE_ADMIN_TOKEN", "a random text of 32 characters or more")
    }

    /// The token, ready to check callers.
    ///
    /// # Errors
    /// When the token is not set or too short, or no request can carry it. The message names the setting.
    pub fn admin_token(&self) -> anyhow::Result<AdminToken> {
        AdminToken::new(self.token()?.expose()).map_err(|error| anyhow::anyhow!("SIGHTLINE_ADMIN_TOKEN: {error}"))
    }
}

/// Checks that the token is long enough, when it is set.
impl Check for AdminTokenArgs {
    fn check(&self, errors: &mut SettingErrors) {
        if self.admin_token.is_some() {
            errors.collect(self.admin_token());
        }
    }
}

/// Access tokens and rate limits. Every service that verifies tokens needs the same issuer and limits.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// Issuer of access tokens (`iss`): the URL under which clients reach this system
    #[arg(long, env = "SIGHTLINE_TOKEN_ISSUER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub token_issuer: String,

    /// Audience of access tokens (`aud`)
    #[arg(long, env = "SIGHTLINE_TOKEN_AUDIENCE", default_value = "sightline", value_name = "NAME")]
    pub token_audience: String,

    /// Lifetime of an access token; a bare number is in seconds
    #[arg(long = "access-token-seconds", env = "SIGHTLINE_ACCESS_TOKEN_SECONDS", default_value = "15m",
        value_name = "DURATION", value_parser = settings::seconds(5..=86_400))]
    pub access_token_life: Duration,

    /// Default rate limit of a user, in requests per second; `none` for no limit
    #[arg(long, env = "SIGHTLINE_RATE_LIMIT_RPS", default_value = "10", value_name = "NUMBER")]
    pub rate_limit_rps: LimitOrNone,
}

/// Registration, passwords, sessions, quotas and mail: only the service that signs users in needs these.
#[derive(Debug, Clone, Args)]
pub struct AccountArgs {
    /// Whether everyone may register; when off, only an admin adds users
    #[arg(long, env = "SIGHTLINE_REGISTRATION", default_value = "on", action = ArgAction::Set,
        value_parser = settings::on_off(), value_name = "ON_OFF")]
    pub registration: bool,

    /// Default quota of a user, in frames per period, posted detections included; `none` for no limit
    #[arg(long, env = "SIGHTLINE_API_REQUEST_QUOTA", default_value = "100", value_name = "NUMBER")]
    pub api_request_quota: LimitOrNone,

    /// Period of the quota, in UTC
    #[arg(
        long,
        env = "SIGHTLINE_API_REQUEST_QUOTA_PERIOD",
        default_value = "month",
        value_enum,
        value_name = "PERIOD"
    )]
    pub api_request_quota_period: QuotaPeriod,

    /// Idle time after which a session ends; a bare number is in days
    #[arg(long = "session-days", env = "SIGHTLINE_SESSION_DAYS", default_value = "30d", value_name = "DURATION",
        value_parser = settings::days(1..=3650))]
    pub session_life: Duration,

    /// How long a second use of a refresh token is only refused, because a response was lost or two tabs refresh at once. Later, the
    /// session ends too, because the token was probably stolen; a bare number is in seconds
    #[arg(long = "refresh-grace-seconds", env = "SIGHTLINE_REFRESH_GRACE_SECONDS", default_value = "10s",
        value_name = "DURATION", value_parser = settings::seconds(0..=300))]
    pub refresh_grace: Duration,

    /// Lifetime of a session token issued by POST /login (compatibility route); a bare number is in seconds
    #[arg(long = "opaque-session-seconds", env = "SIGHTLINE_OPAQUE_SESSION_SECONDS", default_value = "1d",
        value_name = "DURATION", value_parser = settings::seconds(1..=31_536_000))]
    pub opaque_session_life: Duration,

    /// Shortest password, in characters
    #[arg(long, env = "SIGHTLINE_PASSWORD_MIN_LENGTH", default_value_t = 8, value_name = "CHARACTERS",
        value_parser = clap::value_parser!(u8).range(1..=128))]
    pub password_min_length: u8,

    /// Whether commonly used passwords are refused
    #[arg(long, env = "SIGHTLINE_PASSWORD_REFUSE_COMMON", default_value = "on", action = ArgAction::Set,
        value_parser = settings::on_off(), value_name = "ON_OFF")]
    pub password_refuse_common: bool,

    /// Memory of Argon2id for one password, in KiB
    #[arg(long, env = "SIGHTLINE_PASSWORD_HASH_MEMORY_KIB", default_value_t = 19_456, value_name = "KIB",
        value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    pub password_hash_memory_kib: u32,

    /// Passes of Argon2id over its memory
    #[arg(long, env = "SIGHTLINE_PASSWORD_HASH_PASSES", default_value_t = 2, value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub password_hash_passes: u32,

    /// Threads that hash passwords; a quarter of the cores when not set
    #[arg(long, env = "SIGHTLINE_PASSWORD_HASH_THREADS", value_name = "NUMBER")]
    pub password_hash_threads: Option<NonZero<usize>>,

    /// Lifetime of a mailed password-reset token; a bare number is in minutes
    #[arg(long = "reset-minutes", env = "SIGHTLINE_RESET_MINUTES", default_value = "30m", value_name = "DURATION",
        value_parser = settings::minutes(1..=1440))]
    pub reset_life: Duration,

    /// URL of your password-reset page; mails link to it with `#token=<token>` appended
    #[arg(long, env = "SIGHTLINE_RESET_URL", default_value = "http://127.0.0.1:8080/reset", value_name = "URL")]
    pub reset_url: String,

    /// Mail server, as smtps://user:password@host; when not set, mails are written to the log output
    #[arg(long, env = "SIGHTLINE_SMTP_URL", value_name = "URL")]
    pub smtp_url: Option<Secret>,

    /// Sender of mails
    #[arg(
        long,
        env = "SIGHTLINE_MAIL_FROM",
        default_value = "Sightline <sightline@localhost>",
        value_name = "ADDRESS",
        value_parser = mail_from
    )]
    pub mail_from: String,

    /// Sign-in attempts per minute from one client address, with a burst of five sixths of it; `none` for no limit
    #[arg(long, env = "SIGHTLINE_SIGN_INS_PER_ADDRESS", default_value = "120", value_name = "NUMBER")]
    pub sign_ins_per_address: LimitOrNone,
}

fn mail_from(text: &str) -> Result<String, String> {
    text.parse::<Mailbox>()
        .map(|_| text.to_owned())
        .map_err(|_| "it must be a mail address, such as Sightline <no-reply@example.org>".to_owned())
}

/// A number of at least 1, or `none` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitOrNone(pub Option<u32>);

impl FromStr for LimitOrNone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let number = text.parse::<NonZero<u32>>();
        let number = number.map_err(|_| "it must be a whole number of at least 1, or none".to_owned())?;
        Ok(Self(Some(number.get())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_of_mails_is_a_mail_address() {
        assert!(mail_from("Sightline <sightline@localhost>").is_ok());
        for wrong in ["", "nonsense", "a@b\nbcc: c@d"] {
            assert!(mail_from(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!("100".parse(), Ok(LimitOrNone(Some(100))));
        assert_eq!("none".parse(), Ok(LimitOrNone(None)));
        for wrong in ["", "0", "-1", "many", "99999999999"] {
            assert!(wrong.parse::<LimitOrNone>().is_err(), "{wrong}");
        }
    }
}
