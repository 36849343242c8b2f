//! Settings of the indexer.

use std::time::Duration;

use clap::Args;
use contracts::{StrangerArgs, TenantId};
use settings::{count, duration, milliseconds};

/// One minute.
const SHORTEST_RETENTION: Duration = Duration::from_secs(60);
/// A hundred years.
const LONGEST_RETENTION: Duration = Duration::from_secs(36_525 * 24 * 60 * 60);

/// Retention, batching, and the tenant of external results.
#[derive(Debug, Clone, Args)]
#[group(id = "indexer")]
pub struct Config {
    /// Retention of results, detections and alerts, from the time they are indexed, such as 30d or 12h
    #[arg(long, env = "SIGHTLINE_RETENTION", default_value = "30d", value_name = "DURATION",
        value_parser = duration(SHORTEST_RETENTION..=LONGEST_RETENTION))]
    pub retention: Duration,

    /// What is known of strangers.
    #[command(flatten)]
    pub strangers: StrangerArgs,

    /// Most results in one write
    #[arg(long, env = "SIGHTLINE_INDEX_BATCH", default_value_t = 500, value_name = "RESULTS",
        value_parser = count::<usize>(1..=10_000))]
    pub index_batch: usize,

    /// Longest time that a result waits for others of its batch; a bare number is in milliseconds
    #[arg(long = "index-wait-ms", env = "SIGHTLINE_INDEX_WAIT_MS", default_value = "2ms", value_name = "DURATION",
        value_parser = milliseconds(0..=10_000))]
    pub index_wait: Duration,

    /// Tenant of results that external producers write to the results topic
    #[arg(long, env = "SIGHTLINE_FOREIGN_TENANT", default_value = "shared", value_name = "TENANT")]
    pub foreign_tenant: TenantId,
}
