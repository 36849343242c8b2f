//! Log and metrics of a process.

use std::io::{IsTerminal, stderr};
use std::sync::OnceLock;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: a JSON object a line.
    Json,
}

/// Target of the lines of the access log, also in `SIGHTLINE_LOG`.
pub const ACCESS_TARGET: &str = "access";

/// Parses a log filter such as `info` or `warn,indexer=debug`, for a setting.
///
/// # Errors
/// When the filter is invalid.
pub fn log_filter(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; it must be a filter such as `info` or `warn,indexer=debug`")),
    }
}

/// Starts logging to standard error.
///
/// # Errors
/// When the filter is invalid, or a log was started before.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("SIGHTLINE_LOG")?;
    let colours = stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colours);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}

/// Bucket bounds of durations, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Bucket bounds of batch sizes, in images.
const IMAGES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Handle that renders the metrics in the Prometheus text format. Metrics are recorded from the first call on.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS);
        let builder = builder
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_pictures".to_owned()), &IMAGES));
        let recorder = builder.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        // Fails only if another recorder is installed; then this page stays empty.
        drop(metrics::set_global_recorder(recorder));
        handle
    })
}
