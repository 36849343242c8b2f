//! Periods of the quota.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::settings::QuotaPeriod;

/// What is left of a user's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaState {
    /// Most frames of a period; none without a limit, and then nothing is counted.
    pub limit: Option<u32>,
    /// How many count in this one.
    pub used: u64,
    /// When the next one begins, if there is a next one.
    pub resets_at: Option<Timestamp>,
}

impl QuotaPeriod {
    /// The name of the period of a time: what its count is kept under.
    pub(crate) fn name(self, at: Timestamp) -> String {
        let date = at.to_zoned(TimeZone::UTC).date();
        match self {
            Self::Day => date.to_string(),
            Self::Month => format!("{:04}-{:02}", date.year(), date.month()),
            Self::Total => "total".to_owned(),
        }
    }

    /// When the period of a time is over.
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
