//! Results in; documents and alerts out.
//!
//! ```text
//!             ┌──────────────────────────── alerts, at once ────┐
//! results ──▶ intake: batches by count or age ──▶ work: ┬─ documents.put ─┬─▶ finished
//!             decode, match the rules in force          └─ dead letters ──┘
//!             (the next batch, while one is written)
//! ```
//!
//! In: what detectors said, and bare vehicle JSON of foreign producers. Out: result documents with their detections, at most
//! one alert per rule and frame, and dead letters of what is neither.
//!
//! Promised: a result is finished only after its documents are durable, its alerts acknowledged and, where it cannot be
//! indexed, its dead letter acknowledged. A crash before repeats the work; every id follows from the result, so a repeat
//! changes nothing. What may pass (store or log out of reach) is waited out with growing pauses, for as long as it takes;
//! what never will (a document too large) is dead-lettered; what nothing can be done about ends the service loudly.

mod alerts;
mod config;
mod intake;
mod reading;
mod recent;
mod rules_in_force;
mod sending;
mod work;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::Bus;
use contracts::{TopicRole, groups};
use futures::FutureExt;
use jiff::Timestamp;
use metrics::gauge;
use platform::Health;
use rules::BuiltIns;
use store::Documents;
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::intake::Intake;
use crate::rules_in_force::RulesInForce;
use crate::sending::Sending;
use crate::work::Work;

/// How often documents past their time are swept, where the database does not by itself.
const SWEEP: Duration = Duration::from_secs(60);
/// How often the lag is measured.
const LAG: Duration = Duration::from_secs(10);

/// What the indexer works with.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// Where results are kept.
    pub documents: Arc<dyn Documents>,
}

/// The checks that decide whether the indexer is ready.
pub fn health(_config: &Config, deps: &Deps) -> Health {
    let (bus, documents) = (Arc::clone(&deps.bus), Arc::clone(&deps.documents));
    Health::default()
        .with("bus", move || {
            let bus = Arc::clone(&bus);
            async move { bus.check().await }
        })
        .with("documents", move || {
            let documents = Arc::clone(&documents);
            async move { documents.check().await }
        })
}

/// Indexes results until `stop`.
///
/// # Errors
/// When the settings make no sense, or the log or the store refuses for good.
pub async fn run(config: Config, built_ins: BuiltIns, deps: Deps, stop: CancellationToken) -> anyhow::Result<()> {
    let rules = RulesInForce::start(built_ins, Arc::clone(&deps.documents), stop.clone()).await;
    let Some(rules) = rules else { return Ok(()) };
    let sending = Sending::new(deps.bus.producer(), stop.clone());
    let intake = Intake::join(&config, &deps, Arc::clone(&rules), &sending, stop.clone()).await?;
    let Some(intake) = intake else { return Ok(()) };
    let work = Work::new(&deps, sending);

    // The tasks beside the work end with it, also when it fails.
    let beside = stop.child_token();
    let ended = beside.clone().drop_guard();
    let refresh = rules.keep_fresh(beside.clone());
    let sweep = every(SWEEP, beside.clone(), || sweep(&*deps.documents).boxed());
    let lag = every(LAG, beside, || measure_lag(&*deps.bus).boxed());
    let work = async {
        let result = work.run(intake).await;
        drop(ended);
        result
    };
    let (result, (), (), ()) = tokio::join!(work, refresh, sweep, lag);
    result.context("indexer")
}

/// Does something now and then, until `stop`.
async fn every<'a>(pause: Duration, stop: CancellationToken, job: impl Fn() -> futures::future::BoxFuture<'a, ()>) {
    let forever = async {
        loop {
            tokio::time::sleep(pause).await;
            job().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = forever => {}
    }
}

async fn sweep(documents: &dyn Documents) {
    match documents.sweep(Timestamp::now()).await {
        Ok(0) => {}
        Ok(swept) => tracing::info!(documents.swept = swept, "documents past their retention were deleted"),
        Err(error) => {
            tracing::warn!(%error, "documents past their retention could not be deleted; trying again in a minute");
        }
    }
}

async fn measure_lag(bus: &dyn Bus) {
    // A log out of reach is told of by the work itself; the gauge keeps its last value.
    if let Ok(oldest) = bus.oldest_unconsumed(TopicRole::Results, groups::INDEXER).await {
        let lag = oldest.and_then(|taken| taken.elapsed().ok()).unwrap_or_default();
        gauge!("sightline_indexer_lag_seconds").set(lag.as_secs_f64());
    }
}
