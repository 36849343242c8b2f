//! Limits sign-ins by account and by address, without locking the owner out.
//!
//! Guesses at one account from many addresses use up the account's limit. The limit does not apply to an address from which the
//! owner has signed in lately.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::UserId;
use jiff::{SignedDuration, Timestamp};
use store::Relational;
use store::relational::login_key;
use uuid::Uuid;

use crate::error::AccountError;
use crate::limits::{Rate, RateLimits};
use crate::secret_text::hash;
use crate::settings::Throttle;

/// Time for which an address of a sign-in counts as the owner's.
const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(24 * 30);

/// Counts attempts against their limits.
pub(crate) struct SignInThrottle {
    pub(crate) limits: Arc<dyn RateLimits>,
    pub(crate) rates: Throttle,
    pub(crate) store: Relational,
}

/// An attempt to sign in or to request a reset mail.
pub(crate) struct Attempt<'a> {
    /// The kind of attempt; each kind has its own limits.
    pub(crate) kind: &'static str,
    /// The given user name or e-mail address, whether or not a user has it.
    pub(crate) login: &'a str,
    /// The user with this name, if there is one.
    pub(crate) user: Option<UserId>,
    /// The client's address.
    pub(crate) address: IpAddr,
}

impl SignInThrottle {
    /// Counts an attempt. Fails with `Throttled` when a limit is reached.
    pub(crate) async fn admit(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<(), AccountError> {
        let Attempt { kind, login, address, .. } = attempt;
        // Hashed, so that all keys have the same length and Redis gets no names.
        let account = URL_SAFE_NO_PAD.encode(hash(&login_key(login)).0);
        let from = network(*address);
        self.admit_address(kind, *address).await?;
        self.take(&format!("{kind}:pair:{account}:{from}"), self.rates.pair).await?;
        let full = self.take(&format!("{kind}:on:{account}"), self.rates.account).await;
        if full.is_err() && self.is_known(attempt, now).await? {
            return Ok(());
        }
        full
    }

    /// Counts an attempt against the limit of its address alone.
    pub(crate) async fn admit_address(&self, kind: &str, address: IpAddr) -> Result<(), AccountError> {
        let Some(rate) = self.rates.address else { return Ok(()) };
        self.take(&format!("{kind}:from:{}", network(address)), rate).await
    }

    /// Counts a renewal or revocation against the limit of its address.
    pub(crate) async fn admit_token(&self, address: IpAddr) -> Result<(), AccountError> {
        let Some(rate) = self.rates.tokens else { return Ok(()) };
        self.take(&format!("token:from:{}", network(address)), rate).await
    }

    async fn take(&self, key: &str, rate: Rate) -> Result<(), AccountError> {
        let decision = self.limits.take(key, rate).await;
        if decision.allowed {
            return Ok(());
        }
        metrics::counter!("sightline_accounts_throttled_total").increment(1);
        Err(AccountError::Throttled { retry_after: decision.retry_after.max(Duration::from_secs(1)) })
    }

    /// Queries even if there is no such user, so that the time does not reveal whether an account exists.
    async fn is_known(&self, attempt: &Attempt<'_>, now: Timestamp) -> Result<bool, AccountError> {
        let user = attempt.user.unwrap_or(UserId::from_uuid(Uuid::nil()));
        let known = self.store.signed_in_from(user, now - KNOWN_FOR).await?;
        let here = network(attempt.address);
        Ok(known.iter().any(|address| address.parse().is_ok_and(|address| network(address) == here)))
    }
}

/// The network of an address for the limits: an IPv4 address itself, or the /64 of an IPv6 address,
/// because a provider assigns a /64 to each customer.
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
    fn addresses_of_one_customer_count_as_one() {
        let counts_as = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(counts_as("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counts_as("2001:db8:1:2:ffff::1"), "2001:db8:1:2::");
        assert_eq!(counts_as("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(counts_as("192.0.2.7"), "192.0.2.7");
    }
}
