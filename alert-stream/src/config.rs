//! The alert stream's own settings.

use std::time::Duration;

use clap::Args;

/// How much is kept ready for whom.
#[derive(Debug, Clone, Args)]
#[group(id = "alert-stream")]
pub struct Config {
    /// How many of the newest alerts are kept in memory; who comes from further back is served from the log
    #[arg(long, env = "SIGHTLINE_ALERT_WINDOW", default_value_t = 10_000, value_name = "ALERTS")]
    pub alert_window: usize,

    /// Most clients that listen at once; more get 503
    #[arg(long, env = "SIGHTLINE_ALERT_SUBSCRIBERS", default_value_t = 10_000, value_name = "CLIENTS")]
    pub alert_subscribers: usize,

    /// Most clients that are served from the log at once; more get 503
    #[arg(long, env = "SIGHTLINE_ALERT_REPLAYS", default_value_t = 32, value_name = "CLIENTS")]
    pub alert_replays: usize,

    /// A client that was sent nothing for so many seconds is sent its place in the stream
    #[arg(long, env = "SIGHTLINE_ALERT_HEARTBEAT_SECONDS", default_value_t = 15, value_name = "SECONDS")]
    pub alert_heartbeat_seconds: u64,

    /// A client that takes no bytes for so many seconds is cut
    #[arg(long, env = "SIGHTLINE_ALERT_STALL_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub alert_stall_seconds: u64,
}

impl Config {
    /// Whether the values make sense.
    ///
    /// # Errors
    /// Names the setting and what would be right.
    pub fn check(&self) -> anyhow::Result<()> {
        let within = |key: &str, value: u64, least: u64, most: u64| {
            anyhow::ensure!((least..=most).contains(&value), "{key} must be {least} to {most}, not {value}");
            Ok(())
        };
        within("SIGHTLINE_ALERT_WINDOW", self.alert_window as u64, 1, 1_000_000)?;
        within("SIGHTLINE_ALERT_SUBSCRIBERS", self.alert_subscribers as u64, 1, 1_000_000)?;
        within("SIGHTLINE_ALERT_REPLAYS", self.alert_replays as u64, 1, 10_000)?;
        within("SIGHTLINE_ALERT_HEARTBEAT_SECONDS", self.alert_heartbeat_seconds, 1, 3_600)?;
        within("SIGHTLINE_ALERT_STALL_SECONDS", self.alert_stall_seconds, 1, 3_600)
    }

    /// How long a client is left without a word.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.alert_heartbeat_seconds)
    }

    /// How long a client may take no bytes.
    pub fn stall(&self) -> Duration {
        Duration::from_secs(self.alert_stall_seconds)
    }
}
