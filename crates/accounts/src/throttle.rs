//! Slows sign-ins down, by account and by address, without shutting the owner out.
//!
//! Whoever guesses at an account from many addresses fills what strangers may try on it; the owner, who has signed in from
//! its address lately, is no stranger there and has room of its own.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::UserId;
use jiff::{SignedDuration, Timestamp};
use store::Relational;
use uuid::Uuid;

use crate::error::AccountError;
use crate::limits::{Rate, RateLimits};
use crate::secret::hash;
use crate::settings::Throttle;

/// How long an address from which the owner signed in is known.
const KNOWN: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Counts attempts.
pub(crate) struct Attempts {
    pub(crate) limits: Arc<dyn RateLimits>,
    pub(crate) rates: Throttle,
    pub(crate) store: Relational,
}

/// An attempt to sign in, or to have a reset mailed.
pub(crate) struct Attempt<'a> {
    /// What is attempted: each has room of its own.
    pub(crate) kind: &'static str,
    /// The name or address that was given, whether or not it is anybody's.
    pub(crate) login: &'a str,
    /// Whose it is.
    pub(crate) user: Option<UserId>,
    /// From where.
    pub(crate) address: IpAddr,
}

impl Attempts {
    /// Whether an attempt may go on.
    pub(crate) async fn admit(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<(), AccountError> {
        let Attempt { kind, login, address, .. } = attempt;
        // What strangers type goes into keys as a hash: of one length, and no names in Redis.
        let account = URL_SAFE_NO_PAD.encode(hash(&login.to_lowercase()).0);
        let from = network(*address);
        self.admit_address(kind, *address).await?;
        self.take(&format!("{kind}:pair:{account}:{from}"), self.rates.pair).await?;
        let full = self.take(&format!("{kind}:on:{account}"), self.rates.account).await;
        if full.is_err() && self.is_known(attempt, now).await? {
            return Ok(());
        }
        full
    }

    /// Whether an attempt from an address may go on, on whatever account.
    pub(crate) async fn admit_address(&self, kind: &str, address: IpAddr) -> Result<(), AccountError> {
        self.take(&format!("{kind}:from:{}", network(address)), self.rates.address).await
    }

    /// Whether this address may go on with tokens that it has: renewing them, or taking them back.
    pub(crate) async fn admit_token(&self, address: IpAddr) -> Result<(), AccountError> {
        self.take(&format!("token:from:{}", network(address)), self.rates.tokens).await
    }

    async fn take(&self, key: &str, rate: Rate) -> Result<(), AccountError> {
        let decision = self.limits.take(key, rate).await;
        if decision.allowed {
            return Ok(());
        }
        metrics::counter!("sightline_accounts_throttled_total").increment(1);
        Err(AccountError::Throttled { retry_after: decision.retry_after.max(Duration::from_secs(1)) })
    }

    /// Asks about nobody too, so that an account that there is cannot be told from one that there is not.
    async fn is_known(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<bool, AccountError> {
        let user = attempt.user.unwrap_or(UserId::from_uuid(Uuid::nil()));
        let known = self.store.signed_in_from(user, now - KNOWN).await?;
        let here = network(attempt.address);
        Ok(known.iter().any(|address| address.parse().is_ok_and(|address| network(address) == here)))
    }
}

/// What an address counts as: of IPv6, the network that one customer has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_customer_count_as_one() {
        let counts_as = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(counts_as("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counts_as("2001:db8:1:2:ffff::1"), "2001:db8:1:2::");
        assert_eq!(counts_as("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(counts_as("192.0.2.7"), "192.0.2.7");
    }
}
