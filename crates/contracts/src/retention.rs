//! How long the results and images of a stream are kept, where a tenant sets it.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Largest retention of a stream: ten years.
const MOST: u16 = 3_650;

/// Days for which results, detections, alerts and kept images are stored, from 1 to 3,650.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct RetentionDays(NonZeroU16);

/// The number is not a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a retention must be a whole number of days from 1 to {MOST}")]
pub struct RetentionError;

impl RetentionDays {
    /// When something that is stored at `from` expires.
    pub fn expiry(self, from: Timestamp) -> Timestamp {
        from.checked_add(SignedDuration::from_hours(24 * i64::from(self.0.get()))).unwrap_or(Timestamp::MAX)
    }
}

impl TryFrom<u16> for RetentionDays {
    type Error = RetentionError;

    fn try_from(days: u16) -> Result<Self, RetentionError> {
        NonZeroU16::new(days).filter(|days| days.get() <= MOST).map(Self).ok_or(RetentionError)
    }
}

impl From<RetentionDays> for u16 {
    fn from(days: RetentionDays) -> Self {
        days.0.get()
    }
}

impl FromStr for RetentionDays {
    type Err = RetentionError;

    fn from_str(text: &str) -> Result<Self, RetentionError> {
        text.parse::<u16>().map_err(|_| RetentionError)?.try_into()
    }
}

impl fmt::Display for RetentionDays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_from_one_to_ten_years_are_a_retention() {
        for days in ["1", "30", "3650"] {
            assert_eq!(days.parse::<RetentionDays>().unwrap().to_string(), days);
        }
        for text in ["0", "3651", "-1", "1.5", "70000", "", "7d"] {
            assert_eq!(text.parse::<RetentionDays>(), Err(RetentionError), "{text}");
        }
    }

    #[test]
    fn it_counts_whole_days() {
        let from: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let week: RetentionDays = "7".parse().unwrap();
        assert_eq!(week.expiry(from).to_string(), "2026-01-09T03:04:05Z");
        assert_eq!(week.expiry(Timestamp::MAX), Timestamp::MAX);
    }
}
