//! Results in; documents and alerts out.
//!
//! ```text
//!             ┌──────────────────────────── alerts, at once ─────┐
//! results ──▶ batcher: batches by count or age ──▶ worker: ┬─ documents.put ─┬─▶ finished
//!             decode, match the active rules               └─ dead letters ──┘
//!             (the next batch, while one is written)
//! ```
//!
//! In: results of detectors, and bare vehicle JSON of external producers. Out: result documents with their detections, at most
//! one alert for each rule and frame, and dead letters for all other messages.
//!
//! Guarantees: a result is finished only after its documents are durable and its alerts or its dead letter are acknowledged. A
//! crash before that repeats the work; every id is derived from the result, so a repeat changes nothing. While the store or
//! the log is unreachable, the indexer retries without end, with growing pauses. A document that the store refuses for good
//! becomes a dead letter. When the log or the store refuses everything, the service ends with the error.

mod active_rules;
mod active_watchlists;
mod alerts;
mod batcher;
mod bounded_map;
mod config;
mod consumer;
pub mod program;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::Bus;
use consumer_kit::{DeadLetterQueue, Sender};
use contracts::{TopicRole, groups};
use jiff::Timestamp;
use metrics::gauge;
use platform::Health;
use platform::traces::Traces;
use rules::BuiltInRuleSettings;
use store::{ResultStore, RuleStore, WatchlistStore};
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::active_rules::ActiveRules;
use crate::batcher::BatchReader;
use crate::worker::BatchWriter;

/// Pause between sweeps of expired documents, for stores that do not delete them by themselves.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Pause between measurements of the lag.
const MEASURE_LAG_EVERY: Duration = Duration::from_secs(10);

/// Dependencies of the service.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// The store of results with their detections and alerts.
    pub documents: Arc<dyn ResultStore>,
    /// The tenants' rules.
    pub rules: Arc<dyn RuleStore>,
    /// The watchlists that these rules name.
    pub watchlists: Arc<dyn WatchlistStore>,
    /// Starts the spans of the service.
    pub traces: Traces,
}

/// The indexer is ready when the log and the document store can be reached.
pub fn health(_config: &Config, deps: &Deps) -> Health {
    Health::default().with_shared("bus", &deps.bus, |bus| async move { bus.check().await }).with_shared(
        "documents",
        &deps.documents,
        |documents| async move { documents.check().await },
    )
}

/// Indexes results until `stop`.
///
/// # Errors
/// When a setting is invalid, or the log or the store refuses for good.
pub async fn run(
    config: Config,
    built_ins: BuiltInRuleSettings,
    deps: Deps,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (stored_rules, watchlists) = (Arc::clone(&deps.rules), Arc::clone(&deps.watchlists));
    let rules = ActiveRules::start(built_ins, stored_rules, watchlists, &stop).await;
    let Some(rules) = rules else { return Ok(()) };
    let sender = Sender::new(deps.bus.producer(), stop.clone());
    let dead_letters = DeadLetterQueue::of(&*deps.bus, TopicRole::Results, sender.clone())
        .context("the results topic has no dead-letter topic")?;
    let (active, letters) = (Arc::clone(&rules), dead_letters.clone());
    let batches = BatchReader::join(&config, &deps, active, &sender, letters, stop.clone()).await?;
    let Some(batches) = batches else { return Ok(()) };
    let writer = BatchWriter { documents: Arc::clone(&deps.documents), sender, dead_letters, stop: stop.clone() };

    // The background tasks end when the writer ends or fails.
    let background = stop.child_token();
    let writer_ended = background.clone().drop_guard();
    let writing = async {
        let result = writer.run(batches).await;
        drop(writer_ended);
        result
    };
    let (result, ..) = tokio::join!(
        writing,
        rules.keep_fresh(&background),
        background.run_until_cancelled(sweep(&*deps.documents)),
        background.run_until_cancelled(measure_lag(&*deps.bus)),
    );
    result.context("indexer")
}

/// Deletes expired documents periodically.
async fn sweep(documents: &dyn ResultStore) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        match documents.sweep(Timestamp::now()).await {
            Ok(0) => {}
            Ok(swept) => tracing::info!(documents.swept = swept, "expired documents were deleted"),
            Err(error) => tracing::warn!(%error, "expired documents could not be deleted; trying again in a minute"),
        }
    }
}

/// Keeps the gauge of the lag up to date. It keeps its last value while the log is unreachable; the reader reports that.
async fn measure_lag(bus: &dyn Bus) {
    loop {
        tokio::time::sleep(MEASURE_LAG_EVERY).await;
        if let Ok(oldest) = bus.oldest_unconsumed(TopicRole::Results, groups::INDEXER).await {
            let lag = oldest.and_then(|taken| taken.elapsed().ok()).unwrap_or_default();
            gauge!("sightline_indexer_lag_seconds").set(lag.as_secs_f64());
        }
    }
}
