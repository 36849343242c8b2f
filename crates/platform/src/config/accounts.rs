//! Settings of accounts: where they are kept, how tokens and passwords are, how much everybody may. Only texts and numbers:
//! what they mean is the business of `accounts`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::{Secret, Switch, required};

/// Where PostgreSQL is.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// PostgreSQL's connection string, for accounts
    #[arg(long, env = "SIGHTLINE_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<Secret>,

    /// Most connections to PostgreSQL that this process holds
    #[arg(long, env = "SIGHTLINE_DATABASE_CONNECTIONS", default_value_t = 10, value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_connections: u32,
}

impl DatabaseArgs {
    /// The connection string.
    ///
    /// # Errors
    /// When it is not set.
    pub fn url(&self) -> anyhow::Result<&Secret> {
        let example = "postgres://sightline:password@host:5432/sightline";
        required(self.database_url.as_ref(), "SIGHTLINE_DATABASE_URL", example)
    }
}

/// Where Redis is.
#[derive(Debug, Clone, Args)]
pub struct RedisArgs {
    /// Redis, for limits and sessions that all instances share
    #[arg(long, env = "SIGHTLINE_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<Secret>,
}

impl RedisArgs {
    /// The address.
    ///
    /// # Errors
    /// When it is not set.
    pub fn url(&self) -> anyhow::Result<&Secret> {
        required(self.redis_url.as_ref(), "SIGHTLINE_REDIS_URL", "redis://host:6379")
    }
}

/// What every service must agree on that reads access tokens.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// Who issues access tokens: the address under which clients know this system
    #[arg(long, env = "SIGHTLINE_TOKEN_ISSUER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub token_issuer: String,

    /// For whom access tokens are
    #[arg(long, env = "SIGHTLINE_TOKEN_AUDIENCE", default_value = "sightline", value_name = "NAME")]
    pub token_audience: String,

    /// How long an access token is valid, in seconds
    #[arg(long, env = "SIGHTLINE_ACCESS_TOKEN_SECONDS", default_value_t = 900, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(5..=86_400))]
    pub access_token_seconds: u64,

    /// Requests a second of a user without a limit of its own; `none` for any number
    #[arg(long, env = "SIGHTLINE_RATE_LIMIT_RPS", default_value = "10", value_name = "NUMBER")]
    pub rate_limit_rps: AtMost,
}

/// What only the service needs that signs users in.
#[derive(Debug, Clone, Args)]
pub struct AccountArgs {
    /// Whether strangers may register; without it an admin adds users
    #[arg(long, env = "SIGHTLINE_REGISTRATION", default_value = "on", value_enum, value_name = "SWITCH")]
    pub registration: Switch,

    /// Frames and detections a user without a quota of its own may send in a period; `none` for any number
    #[arg(long, env = "SIGHTLINE_API_REQUEST_QUOTA", default_value = "100", value_name = "NUMBER")]
    pub api_request_quota: AtMost,

    /// What a period of the quota is, in UTC
    #[arg(
        long,
        env = "SIGHTLINE_API_REQUEST_QUOTA_PERIOD",
        default_value = "month",
        value_enum,
        value_name = "PERIOD"
    )]
    pub api_request_quota_period: Period,

    /// Days after which a session ends that is not renewed
    #[arg(long, env = "SIGHTLINE_SESSION_DAYS", default_value_t = 30, value_name = "DAYS",
        value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub session_days: u64,

    /// How long after a refresh token was spent its use again is taken for two tabs or a lost answer, in seconds
    #[arg(long, env = "SIGHTLINE_REFRESH_GRACE_SECONDS", default_value_t = 10, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(0..=300))]
    pub refresh_grace_seconds: u64,

    /// How long an opaque session of an older client lives, in seconds
    #[arg(long, env = "SIGHTLINE_OPAQUE_SESSION_SECONDS", default_value_t = 86_400, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    pub opaque_session_seconds: u64,

    /// Fewest characters of a password
    #[arg(long, env = "SIGHTLINE_PASSWORD_MIN_LENGTH", default_value_t = 8, value_name = "CHARACTERS",
        value_parser = clap::value_parser!(u8).range(1..=128))]
    pub password_min_length: u8,

    /// Whether passwords are refused that many people use
    #[arg(long, env = "SIGHTLINE_PASSWORD_REFUSE_COMMON", default_value = "on", value_enum, value_name = "SWITCH")]
    pub password_refuse_common: Switch,

    /// Memory that hashing a password takes, in KiB
    #[arg(long, env = "SIGHTLINE_PASSWORD_HASH_MEMORY_KIB", default_value_t = 19_456, value_name = "KIB",
        value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    pub password_hash_memory_kib: u32,

    /// Passes over that memory
    #[arg(long, env = "SIGHTLINE_PASSWORD_HASH_PASSES", default_value_t = 2, value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    pub password_hash_passes: u32,

    /// Threads that hash passwords; a quarter of the cores when not set
    #[arg(long, env = "SIGHTLINE_PASSWORD_HASH_THREADS", value_name = "NUMBER")]
    pub password_hash_threads: Option<std::num::NonZero<usize>>,

    /// Minutes for which a mailed token sets a new password
    #[arg(long, env = "SIGHTLINE_RESET_MINUTES", default_value_t = 30, value_name = "MINUTES",
        value_parser = clap::value_parser!(u64).range(1..=1440))]
    pub reset_minutes: u64,

    /// Page of yours that such a token is mailed for, behind `#token=`
    #[arg(long, env = "SIGHTLINE_RESET_URL", default_value = "http://127.0.0.1:8080/reset", value_name = "URL")]
    pub reset_url: String,

    /// Mail server, as smtps://user:password@host; without one, mails go to the log
    #[arg(long, env = "SIGHTLINE_SMTP_URL", value_name = "URL", hide_env_values = true)]
    pub smtp_url: Option<Secret>,

    /// In whose name mails are sent
    #[arg(
        long,
        env = "SIGHTLINE_MAIL_FROM",
        default_value = "Sightline <sightline@localhost>",
        value_name = "ADDRESS"
    )]
    pub mail_from: String,

    /// Attempts to sign in a minute from one address
    #[arg(long, env = "SIGHTLINE_SIGN_INS_PER_ADDRESS", default_value_t = 120, value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub sign_ins_per_address: u32,

    /// Addresses or networks of proxies whose X-Forwarded-For is believed, comma-separated
    #[arg(long, env = "SIGHTLINE_TRUSTED_PROXIES", value_delimiter = ',', value_name = "NETWORKS")]
    pub trusted_proxies: Vec<Network>,
}

/// What a quota is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Period {
    /// A day.
    Day,
    /// A month.
    Month,
    /// All time.
    Total,
}

/// A limit, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtMost(pub Option<u32>);

impl FromStr for AtMost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let number = text.parse().map_err(|_| "it must be a whole number, or none".to_owned())?;
        Ok(Self(Some(number)))
    }
}

/// A network, such as 10.0.0.0/8; a single address is one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => masked_v4(own, self.prefix) == masked_v4(other, self.prefix),
            (IpAddr::V6(own), IpAddr::V6(other)) => masked_v6(own, self.prefix) == masked_v6(other, self.prefix),
            _ => false,
        }
    }
}

fn masked_v4(address: Ipv4Addr, prefix: u32) -> u32 {
    address.to_bits().checked_shr(32 - prefix).unwrap_or(0)
}

fn masked_v6(address: Ipv6Addr, prefix: u32) -> u128 {
    address.to_bits().checked_shr(128 - prefix).unwrap_or(0)
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither an address nor a network such as 10.0.0.0/8");
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| wrong())?)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        if prefix > longest { Err(wrong()) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_none() {
        assert_eq!("100".parse(), Ok(AtMost(Some(100))));
        assert_eq!("none".parse(), Ok(AtMost(None)));
        for wrong in ["", "-1", "many", "99999999999"] {
            assert!(wrong.parse::<AtMost>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let contains =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(contains("10.0.0.0/8", "10.255.1.2"));
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("192.0.2.7", "192.0.2.7"));
        assert!(!contains("192.0.2.7", "192.0.2.8"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::1"));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "host", "10.0.0.0/"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
