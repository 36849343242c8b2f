//! The quota of a user: frames per period, counted in the store.

use contracts::{FrameId, UserId};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use store::relational::{Charge, ChargeOutcome};

use crate::AccessError;
use crate::caller::Caller;
use crate::settings::QuotaPeriod;
use crate::verifier::{TokenVerifier, unavailable};

/// A user's quota and the part of it that is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaState {
    /// Maximum number of frames per period; `None` for no limit, and then nothing is counted.
    pub limit: Option<u32>,
    /// Frames charged in this period.
    pub used: u64,
    /// Start of the next period; `None` for the period `Total`.
    pub resets_at: Option<Timestamp>,
}

impl TokenVerifier {
    /// The quota of a caller.
    pub async fn quota(&self, caller: &Caller) -> Result<QuotaState, AccessError> {
        let (now, period) = (self.clock.now(), self.settings.quota_period);
        let unlimited = QuotaState { limit: None, used: 0, resets_at: None };
        let Some((user, limit)) = self.quota_limit(caller).await? else { return Ok(unlimited) };
        let used = self.store.used(user, &period.name(now)).await.map_err(unavailable)?;
        Ok(QuotaState { limit: Some(limit), used, resets_at: period.ends(now) })
    }

    pub(crate) async fn charge_quota(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        let Some((user, limit)) = self.quota_limit(caller).await? else { return Ok(()) };
        let (now, period) = (self.clock.now(), self.settings.quota_period);
        let charge = Charge { user, frame, period: &period.name(now), limit };
        match self.store.charge(&charge, now).await.map_err(unavailable)? {
            ChargeOutcome::Admitted { .. } => Ok(()),
            ChargeOutcome::Refused => Err(AccessError::QuotaExceeded { resets_at: period.ends(now) }),
            ChargeOutcome::UnknownUser => Err(AccessError::InvalidCredential),
        }
    }

    pub(crate) async fn refund_quota(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        let Some((user, _)) = self.quota_limit(caller).await? else { return Ok(()) };
        self.store.refund(user, frame, self.clock.now()).await.map_err(unavailable)
    }

    /// The user to charge and its limit; `None` for a caller without a quota.
    async fn quota_limit(&self, caller: &Caller) -> Result<Option<(UserId, u32)>, AccessError> {
        let Some(id) = caller.user else { return Ok(None) };
        // The user may have been disabled since the request was authenticated.
        let user = self.active_user(id).await?;
        Ok(user.quota.in_force(self.settings.quota).map(|limit| (id, limit)))
    }
}

impl QuotaPeriod {
    /// The name of the period at a time: `2026-11-21`, `2026-11` or `total`. The store uses it as the key of the counts.
    pub(crate) fn name(self, at: Timestamp) -> String {
        let date = at.to_zoned(TimeZone::UTC).date();
        match self {
            Self::Day => date.to_string(),
            Self::Month => format!("{:04}-{:02}", date.year(), date.month()),
            Self::Total => "total".to_owned(),
        }
    }

    /// The end of the period at a time; `None` for `Total`.
    pub(crate) fn ends(self, at: Timestamp) -> Option<Timestamp> {
        let date = at.to_zoned(TimeZone::UTC).date();
        let next = match self {
            Self::Day => date.tomorrow(),
            Self::Month => date.first_of_month().checked_add(1.month()),
            Self::Total => return None,
        };
        Some(next.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_days_and_months_of_utc() {
        let at: Timestamp = "2026-12-31T23:59:59.9Z".parse().unwrap();
        let new_year: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        assert_eq!((QuotaPeriod::Day.name(at), QuotaPeriod::Month.name(at)), ("2026-12-31".into(), "2026-12".into()));
        assert_eq!((QuotaPeriod::Day.ends(at), QuotaPeriod::Month.ends(at)), (Some(new_year), Some(new_year)));
        assert_eq!((QuotaPeriod::Total.name(at), QuotaPeriod::Total.ends(at)), ("total".into(), None));
        assert_eq!(QuotaPeriod::Month.name(new_year), "2027-01");
    }
}
