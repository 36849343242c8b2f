//! The indexer's own settings.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use platform::Common;
use rules::BuiltIns;

/// How results are kept, and how they are grouped before they are written.
#[derive(Debug, Clone, Args)]
#[group(id = "indexer")]
pub struct Config {
    /// How long results, detections and alerts are kept, counted from their indexing, as in 30d or 12h
    #[arg(long, env = "SIGHTLINE_RETENTION", default_value = "30d", value_name = "DURATION")]
    pub retention: Retention,

    /// Most results written at once
    #[arg(long, env = "SIGHTLINE_INDEX_BATCH", default_value_t = 500, value_name = "RESULTS")]
    pub index_batch: usize,

    /// Longest wait of a result for others to be written with, in milliseconds
    #[arg(long, env = "SIGHTLINE_INDEX_WAIT_MS", default_value_t = 2, value_name = "MILLISECONDS")]
    pub index_wait_ms: u64,
}

impl Config {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// Names the setting and what would be right.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            (1..=10_000).contains(&self.index_batch),
            "SIGHTLINE_INDEX_BATCH must be 1 to 10000, not {}",
            self.index_batch
        );
        anyhow::ensure!(
            self.index_wait_ms <= 10_000,
            "SIGHTLINE_INDEX_WAIT_MS must be at most 10000, not {}",
            self.index_wait_ms
        );
        Ok(())
    }

    /// Longest wait of a result for others.
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.index_wait_ms)
    }
}

/// A span of at least a minute and at most a hundred years, written like `30d`, `12h` or `90m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention(pub SignedDuration);

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration of a minute to a hundred years, like 30d, 12h or 90m");
        let span: Span = text.parse().map_err(|_| wrong())?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        let (least, most) = (SignedDuration::from_mins(1), SignedDuration::from_hours(24 * 36_525));
        if (least..=most).contains(&duration) { Ok(Self(duration)) } else { Err(wrong()) }
    }
}

/// The built-in rules as the operator set them.
pub(crate) fn built_ins(common: &Common) -> BuiltIns {
    BuiltIns {
        face_seen: common.rule_face_seen.is_on(),
        suspicious_vehicle: common.rule_suspicious_vehicle.is_on(),
        suspicious_category: common.suspicious_vehicle.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_reads_like_people_write_it() {
        for (text, hours) in [("30d", 720), ("12h", 12), ("1d 12h", 36), ("120m", 2)] {
            assert_eq!(text.parse(), Ok(Retention(SignedDuration::from_hours(hours))), "{text}");
        }
        for wrong in ["", "30", "soon", "-1d", "0d", "10s", "200000d"] {
            assert!(wrong.parse::<Retention>().is_err(), "{wrong}");
        }
    }
}
