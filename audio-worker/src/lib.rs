//! Recordings in; transcripts, descriptions, categories, and sentences for the search out.
//!
//! ```text
//!                ┌────────────────────── claim what is due, every 5 s and after each task ─────────────────────┐
//!                ▼                                                                                              │
//! media_tasks ──▶ worker ──┬─ transcribe: decode ─▶ Silero VAD ─▶ windows ──────────────────────────────────────┤
//!    ▲                     ├─ a window: samples ─▶ providers ─▶ text with its checkpoint ───────────────────────┤
//!    │                     ├─ summarise: sentences ─▶ embeddings ─▶ description, categories, passages ──────────┤
//!    │                     └─ publish: preview, price ─▶ ready ─────────────────────────────────────────────────┘
//!    └───────────────────────── finished, once the effect is in the database ──▶ media_progress
//! ```
//!
//! In: tasks with ids only; the files of books from the media store. Out: rows of the database (windows, texts, passages, descriptions), the
//! book as `ready`, and events that say how far a book is.
//!
//! Guarantees:
//! - A task is finished only after its effect is stored. A crash repeats work that was in progress, and no other: a window with a text keeps it.
//! - What is due in the database and was not heard of for 30 s is published again, so no lost message and no crash stops a book.
//! - A worker has what it works on for 30 s at a time; what it has lost it stops at once.
//! - A stop ends within the 20 s in which the log waits for messages in flight.
//!
//! What is due, which provider is called and at what price are rules of `media`. Speech to text is in [`speech`], the calls of providers
//! in [`providers`].

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod config;
mod consumer;
mod due;
mod engine;
mod object;
pub mod program;
mod progress;
mod provider_list;
pub mod providers;
mod sounds;
pub mod speech;
mod worker;

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use bus::{Bus, ConsumerOptions};
use consumer_kit::repeat;
use contracts::groups;
use media::{Clock, Pipelines, ProviderRegistry};
use metrics::gauge;
use platform::Health;
use platform::traces::Traces;
use settings::{Check as _, SettingErrors};
use store::Media;
use store::relational::Relational;
use text::Embeddings;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use config::{Config, SharedArgs};

use due::Due;
use progress::Progress;
use providers::{ProviderDeps, Providers};
use sounds::Sounds;
use worker::{PLANS, Shutdown, Steps, Worker};

/// Pause between two sweeps of calls that nobody settled.
const SWEEP_EVERY: std::time::Duration = std::time::Duration::from_secs(60);
/// Pause between measurements of the lag.
const MEASURE_LAG_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// The backends of the worker.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// The database of books and of the work on them.
    pub database: Relational,
    /// The files of books.
    pub media: Arc<dyn Media>,
    /// The clock; a test may advance it.
    pub clock: Clock,
    /// Starts the spans of the service.
    pub traces: Traces,
    /// What [`run`] lacks to do all work itself, read by [`health`].
    missing: Arc<OnceLock<String>>,
}

impl Deps {
    /// These backends, with the system's clock and without traces.
    pub fn new(bus: Arc<dyn Bus>, database: Relational, media: Arc<dyn Media>) -> Self {
        Self { bus, database, media, clock: Clock::system(), traces: Traces::off(), missing: Arc::default() }
    }
}

/// Readiness: the log, the database and the files can be reached. Without a model the worker is degraded: other providers do its work.
pub fn health(deps: &Deps) -> Health {
    let database = deps.database.clone();
    Health::default()
        .with_shared("bus", &deps.bus, |bus| async move { bus.check().await })
        .with_shared("media", &deps.media, |media| async move { media.check().await })
        .with("database", move || {
            let database = database.clone();
            async move { database.check().await }
        })
        .with_optional_shared("speech", Some(Arc::clone(&deps.missing)), |missing| async move {
            missing.get().map_or(Ok(()), |missing| Err(missing.clone()))
        })
}

/// Works on books until `stop`.
///
/// # Errors
/// When a setting is invalid, or the log refuses for good.
pub async fn run(config: Config, shared: SharedArgs, deps: Deps, stop: CancellationToken) -> anyhow::Result<()> {
    SettingErrors::result_of(|errors| config.check(errors))?;
    let pipelines = Pipelines::new(deps.database.clone(), deps.clock.clone());
    let providers = open_providers(&config, &shared, &deps).await?;
    let missing: Vec<String> = engine::missing(&shared).await?.into_iter().chain(providers.missing()).collect();
    if !missing.is_empty() {
        let missing = missing.join("; ");
        tracing::warn!("{missing}");
        // Set once: a process has one set of providers.
        drop(deps.missing.set(missing));
    }
    let (producer, progress) = (deps.bus.producer(), Progress::new(&*deps.bus, pipelines.clone()));
    let due = Due::new(producer, pipelines.clone());
    let runtime = shared.onnx.options(shared.folder.dir(), 1);
    let steps = Steps {
        pipelines: pipelines.clone(),
        media: Arc::clone(&deps.media),
        sounds: Sounds::default(),
        providers: providers.clone(),
        embeddings: Embeddings::new(shared.folder.clone(), runtime),
        shared,
        due: due.clone(),
        progress,
        traces: deps.traces.clone(),
        plans: Arc::new(Semaphore::new(PLANS)),
        shutdown: Shutdown::after(stop.clone()),
    };
    let options = ConsumerOptions { max_in_flight: config.audio_tasks, ..ConsumerOptions::default() };
    let worker = Worker { bus: Arc::clone(&deps.bus), options, steps: Arc::new(steps), stop: stop.clone() };
    tracing::info!("working on audiobooks from {}, files in {}", deps.bus.describe(), deps.media.describe());

    // The background tasks end when the worker ends or fails.
    let background = stop.child_token();
    let worker_ended = background.clone().drop_guard();
    let working = async {
        let result = worker.run().await;
        drop(worker_ended);
        result
    };
    let (result, ..) = tokio::join!(
        Box::pin(working),
        due.keep_publishing(&background),
        provider_list::report(&providers, &pipelines, &background),
        provider_list::try_on_request(&providers, &pipelines, &background),
        sweep(&pipelines, &background),
        background.run_until_cancelled(measure_lag(&*deps.bus)),
    );
    result.context("audio-worker")
}

/// The providers of the file. Whisper is opened only if the file names it; without its model the worker goes on with the others.
async fn open_providers(config: &Config, shared: &SharedArgs, deps: &Deps) -> anyhow::Result<Providers> {
    let args = config.providers.clone();
    let file = tokio::task::spawn_blocking(move || args.load()).await??;
    let engine = engine::open(&file, config, shared).await?;
    let registry = ProviderRegistry::new(deps.database.clone(), deps.clock.clone());
    Providers::new(ProviderDeps { file, registry, clock: deps.clock.clone(), engine })
}

/// Makes calls unknown that nobody has settled.
async fn sweep(pipelines: &Pipelines, stop: &CancellationToken) {
    let work = || async {
        let unknown = pipelines.sweep().await?;
        if unknown > 0 {
            tracing::warn!(
                calls = unknown,
                "nobody knows how these calls of providers ended; what was reserved for them counts as spent"
            );
        }
        Ok::<(), media::MediaError>(())
    };
    repeat(SWEEP_EVERY, stop, "calls of providers are not looked through; trying again", work).await;
}

/// Keeps the gauge of the lag up to date. It keeps its last value while the log is unreachable; the reader reports that.
async fn measure_lag(bus: &dyn Bus) {
    loop {
        tokio::time::sleep(MEASURE_LAG_EVERY).await;
        let role = contracts::TopicRole::MediaTasks;
        if let Ok(oldest) = bus.oldest_unconsumed(role, groups::AUDIO_WORKER).await {
            let lag = oldest.and_then(|taken| taken.elapsed().ok()).unwrap_or_default();
            gauge!("sightline_audio_lag_seconds").set(lag.as_secs_f64());
        }
    }
}
