//! Frames in, results out: decode, batch, infer, publish.
//!
//! ```text
//!            for each partition of `frames`, in the order of offsets
//! consumer ──▶ lane ──┬──▶ fetch ─▶ decode ─▶ infer ─▶ keep ──┬──▶ publisher ──▶ results, frames.dlq
//!    ▲                ├──▶ fetch ─▶ decode ─▶ infer ─▶ keep ──┤        │
//!    │                └──▶   …    frames side by side    …  ──┘        │
//!    │                   pixel budget │        │ bounded queue         │
//!    │                   decode pool ─┘        └─ batcher ─▶ threads   │
//!    │                                            that own a session   │
//!    └────────────────── finished, once all results are acknowledged ──┘
//! ```
//!
//! In: frames from the log, their bytes in the message or in the blob store. Out: one result per frame and detector, also
//! when nothing was found, in the order of each partition; a dead letter, after a failed result, for what can never work.
//!
//! Promised: a frame is finished only when everything about it is acknowledged, so a crash repeats work and loses none.
//! What is in hand is bounded in frames, in bytes and in decoded pixels. What may work later is tried again for as long as
//! it takes; a frame that kills the process is found ([`journal`]) and given up after three deaths.
//!
//! Frames are futures that wait for permits and not stages that hand over to each other, because the order of a partition
//! then needs nothing but to take what came of them in the order in which they came.

pub mod batcher;
pub mod config;
pub mod consumer;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod image;
pub mod inference;
pub mod journal;
pub mod media;
mod meters;
pub mod model;
pub mod pipeline;
pub mod publisher;
pub mod registry;
pub mod runtime;
pub mod sample;
pub mod serve;
pub mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use bus::{Bus, BusError, ConsumerOptions};
use contracts::{DetectorName, TopicRole, groups};
use platform::{Common, Health};
use store::{Blobs, INBOX};
use tokio_util::sync::CancellationToken;

pub use config::Config;
use consumer::Intake;
use inference::DetectorSpec;
use journal::Journal;
use pipeline::Pipeline;
use worker::{Examiner, Worker};

/// How often pictures that are too old are looked for.
const SWEEP: Duration = Duration::from_secs(3600);

/// What the worker works with.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// The pictures.
    pub blobs: Arc<dyn Blobs>,
    /// Set by [`run`] when all models are loaded, read by [`health`].
    models_loaded: Arc<AtomicBool>,
}

impl Deps {
    /// A log and a place for pictures.
    pub fn new(bus: Arc<dyn Bus>, blobs: Arc<dyn Blobs>) -> Self {
        Self { bus, blobs, models_loaded: Arc::default() }
    }
}

/// Whether the log and the pictures are in reach and the models loaded.
pub fn health(_config: &Config, deps: &Deps) -> Health {
    let Deps { bus, blobs, models_loaded } = deps.clone();
    let loaded = move || {
        let loaded = models_loaded.load(Ordering::Relaxed);
        async move { if loaded { Ok(()) } else { Err("the models are not loaded yet") } }
    };
    Health::default()
        .with("bus", move || {
            let bus = bus.clone();
            async move { bus.check().await }
        })
        .with("blobs", move || {
            let blobs = blobs.clone();
            async move { blobs.check().await }
        })
        .with("model loaded", loaded)
}

/// Frames in, results out, by the detectors that the settings name, until `stop`.
///
/// # Errors
/// When a detector cannot be opened, with the setting and the remedy, or the worker cannot go on.
pub async fn run(config: Config, common: Common, deps: Deps, stop: CancellationToken) -> anyhow::Result<()> {
    let detectors = detectors(&config, &common)?;
    run_with(detectors, config, common, deps, stop).await
}

/// The detectors that the settings name, ready to be opened.
///
/// # Errors
/// When there is no such detector or none of its models is here; the message names the setting and the remedy.
pub fn detectors(config: &Config, common: &Common) -> anyhow::Result<Vec<DetectorSpec>> {
    let registry = Arc::new(config.models.registry()?);
    let options = config.runtime();
    let spec = |name: &DetectorName| {
        let model = registry.chosen(name, &options.models_dir)?;
        let description = match model.weights() {
            Some(weights) => format!("{} ({}) on {}", model.name, weights.file, options.provider.setting()),
            None => format!("{}, an engine behind HTTP", model.name),
        };
        let (registry, options, detector) = (registry.clone(), options.clone(), name.clone());
        let open = Arc::new(move || Ok(registry.open(&detector, &options)?));
        Ok(DetectorSpec { name: name.clone(), description, open })
    };
    common.detectors.iter().map(spec).collect()
}

/// [`run`] with these detectors.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    detectors: Vec<DetectorSpec>,
    config: Config,
    common: Common,
    deps: Deps,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    config.check()?;
    anyhow::ensure!(!detectors.is_empty(), "SIGHTLINE_DETECTORS: name at least one detector");
    let names: Vec<DetectorName> = detectors.iter().map(|detector| detector.name.clone()).collect();
    let group = groups::detector_worker(&names);
    let journal = open_journal(&config, &deps, &group).await?;
    let pipeline = Pipeline::start(detectors, &config, &common).await?;
    deps.models_loaded.store(true, Ordering::Relaxed);
    tracing::info!(group, "detecting frames from {}, pictures in {}", deps.bus.describe(), deps.blobs.describe());
    let examiner = Examiner::new(pipeline, journal, deps.blobs.clone(), deps.bus.producer(), config.keep_pictures);
    let options = ConsumerOptions {
        max_in_flight: config.pace.worker_frames,
        max_in_flight_bytes: config.pace.worker_bytes,
        ..ConsumerOptions::default()
    };
    let sweeper = Sweeper {
        bus: deps.bus.clone(),
        blobs: deps.blobs.clone(),
        group: group.clone(),
        pictures: config.picture_retention,
        inbox: common.topics()?.get(TopicRole::Frames).retention,
    };
    let worker =
        Worker { bus: deps.bus.clone(), group, options, intake: Intake::new(names), examiner: Arc::new(examiner) };
    tokio::select! {
        ended = worker.run(stop) => ended,
        () = sweeper.run() => Ok(()),
    }
}

async fn open_journal(config: &Config, deps: &Deps, group: &str) -> anyhow::Result<Journal> {
    let incarnation = deps.bus.incarnation(TopicRole::Frames).await.context("the frames topic cannot be asked")?;
    let ranges = deps.bus.ranges(TopicRole::Frames).await.context("the frames topic cannot be asked")?;
    let earliest =
        |partition| ranges.iter().find(|range| range.partition == partition).map_or(i64::MAX, |range| range.earliest);
    let folder = config.state_dir();
    Journal::open(&folder, group, &incarnation, earliest).with_context(|| {
        format!(
            "SIGHTLINE_WORKER_STATE_DIR: cannot write to {}; set it to a folder of the worker's own",
            folder.display()
        )
    })
}

/// Deletes pictures that are too old.
struct Sweeper {
    bus: Arc<dyn Bus>,
    blobs: Arc<dyn Blobs>,
    group: String,
    pictures: Duration,
    inbox: Duration,
}

impl Sweeper {
    /// Sweeps at once and then every hour. A large frame's bytes in the inbox are left to it too, because other groups may
    /// not have read them yet when this one has.
    async fn run(self) {
        let mut hourly = tokio::time::interval(SWEEP);
        loop {
            hourly.tick().await;
            self.sweep("frames", Ok(self.pictures)).await;
            self.sweep(INBOX, self.inbox_age().await).await;
        }
    }

    /// The embedded log keeps what is not consumed beyond its retention; then the bytes must stay as long.
    async fn inbox_age(&self) -> Result<Duration, BusError> {
        let oldest = self.bus.oldest_unconsumed(TopicRole::Frames, &self.group).await?;
        let waiting = oldest.and_then(|since| since.elapsed().ok()).unwrap_or_default();
        Ok(self.inbox.max(waiting))
    }

    async fn sweep(&self, kind: &str, age: Result<Duration, BusError>) {
        let swept = match age {
            Ok(age) => self.blobs.sweep(kind, age).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match swept {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(kind, deleted, "deleted old pictures"),
            Err(error) => tracing::warn!(kind, error, "old pictures could not be deleted; the next hour tries again"),
        }
    }
}
