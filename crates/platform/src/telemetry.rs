//! Log and metrics of a process.

use std::io::{IsTerminal, stderr};
use std::sync::OnceLock;

use anyhow::Context;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::error_line;
use crate::stderr::Lines;

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

/// Names of levels in a filter. Digits are levels too.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What a valid filter probably does not mean: a word alone that is not a level, such as `debgu`, selects a target of that name.
pub fn log_filter_warning(filter: &str) -> Option<String> {
    let is_level =
        |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) || word.parse::<u8>().is_ok();
    let mut words = filter.split(',').map(str::trim).filter(|part| !part.is_empty() && !part.contains(['=', '[']));
    let word = words.find(|word| !is_level(word))?;
    let levels = LEVELS.join(", ");
    Some(format!(
        "SIGHTLINE_LOG: {word:?} is not a level ({levels}): it selects the lines of the target {word} alone; write \
         {word}=trace if you mean that"
    ))
}

/// Starts logging to standard error.
///
/// # Errors
/// When the filter is invalid, or a log was started before.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let warning = log_filter_warning(filter);
    let filter = EnvFilter::try_new(filter).context("SIGHTLINE_LOG")?;
    let colours = stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines).with_ansi(colours);
    // It would report a closed standard error with `eprintln!`, which panics in the task that logs.
    let builder = builder.log_internal_errors(false);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))?;
    match (warning, format) {
        (None, _) => {}
        // The filter may drop the line from the log. A program that reads the log expects no other line.
        (Some(warning), LogFormat::Text) => error_line(format_args!("warning: {warning}")),
        (Some(warning), LogFormat::Json) => tracing::warn!("{warning}"),
    }
    Ok(())
}

/// Bucket bounds of durations, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Bucket bounds of batch sizes, in images.
const IMAGES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// Starts to record metrics. Those that are recorded earlier are lost.
pub fn start_metrics() {
    metrics();
}

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
        // One workspace, one version: that of this crate is that of every program.
        metrics::gauge!("sightline_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        handle
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_that_is_not_a_level_is_warned_of() {
        for filter in ["info", "INFO,ort=warn", "warn,indexer=debug,access=off", "3", "", "info,[request{id}]=trace"] {
            assert_eq!(log_filter_warning(filter), None, "{filter}");
        }
        for (filter, word) in [("debgu", "debgu"), ("info, indexer", "indexer"), ("ort=warn,verbose", "verbose")] {
            assert!(log_filter(filter).is_ok(), "{filter} stays valid");
            assert!(log_filter_warning(filter).unwrap().contains(&format!("{word}=trace")), "{filter}");
        }
    }
}
