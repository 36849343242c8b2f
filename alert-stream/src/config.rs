//! Settings of alert-stream.

use std::time::Duration;

use clap::Args;
use settings::{count, seconds};

/// Limits of the streams.
#[derive(Debug, Clone, Args)]
#[group(id = "alert-stream")]
pub struct Config {
    /// Number of the newest alerts kept in memory; a client that resumes further back is served from the log
    #[arg(long, env = "SIGHTLINE_ALERT_WINDOW", default_value_t = 10_000, value_name = "ALERTS",
        value_parser = count::<usize>(1..=1_000_000))]
    pub alert_window: usize,

    /// Maximum number of connected clients; further clients get 503
    #[arg(long, env = "SIGHTLINE_ALERT_SUBSCRIBERS", default_value_t = 10_000, value_name = "CLIENTS",
        value_parser = count::<usize>(1..=1_000_000))]
    pub alert_subscribers: usize,

    /// Maximum number of clients served from the log at the same time; further clients get 503
    #[arg(long, env = "SIGHTLINE_ALERT_REPLAYS", default_value_t = 32, value_name = "CLIENTS",
        value_parser = count::<usize>(1..=10_000))]
    pub alert_replays: usize,

    /// Longest silence of a stream before a heartbeat with the client's cursor; a bare number is in seconds
    #[arg(long = "alert-heartbeat-seconds", env = "SIGHTLINE_ALERT_HEARTBEAT_SECONDS", default_value = "15s",
        value_name = "DURATION", value_parser = seconds(1..=3_600))]
    pub alert_heartbeat: Duration,

    /// Time after which a client that reads nothing is disconnected; a bare number is in seconds
    #[arg(long = "alert-stall-seconds", env = "SIGHTLINE_ALERT_STALL_SECONDS", default_value = "30s",
        value_name = "DURATION", value_parser = seconds(1..=3_600))]
    pub alert_stall: Duration,
}
