//! Settings of the service.

use clap::Args;
use settings::count;

/// Bounds of the consumer.
#[derive(Debug, Clone, Args)]
#[group(id = "counter")]
pub struct Config {
    /// Maximum number of results that are delivered and not counted yet
    #[arg(long, env = "SIGHTLINE_COUNTER_RESULTS", default_value_t = 1000, value_name = "RESULTS",
        value_parser = count::<usize>(1..=100_000))]
    pub counter_results: usize,
}
