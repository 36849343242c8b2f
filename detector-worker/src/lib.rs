//! Frames in, results out: decode, batch, infer, publish.
//!
//! ```text
//!             per partition of `frames`, in the order of the offsets
//! consumer ──▶ partition ──┬──▶ fetch ─▶ decode ─▶ infer ─▶ keep ──┬──▶ publisher ──▶ results, frames_dlq
//!    ▲                     ├──▶ fetch ─▶ decode ─▶ infer ─▶ keep ──┤        │
//!    │                     └──▶   …     frames concurrently    …  ──┘        │
//!    │                        pixel budget │        │ bounded queue         │
//!    │                        decode pool ─┘        └─ batcher ─▶ threads   │
//!    │                                                 with one session each │
//!    └──────────────────── finished, once all results are acknowledged ──────┘
//! ```
//!
//! In: frames from the bus, their bytes in the message or in the blob store. Out: one result per frame and detector,
//! even if nothing was found, in the order of each partition. A frame that can never be processed gets a failed result
//! and a dead letter.
//!
//! Guarantees: a frame is finished only when all its results are acknowledged, so a crash repeats work and loses none.
//! Frames in flight are bounded in number, in bytes and in decoded pixels. Transient errors are retried without end. A frame
//! that crashes the process is found ([`crash_log`]) and fails after five crashes.
//!
//! Each frame is one future that waits for permits; it is not passed from stage to stage. So the results of a partition are
//! in order if the futures are awaited in order.

pub mod config;
pub mod consumer;
pub mod crash_log;
pub mod identity;
mod metrics;
pub mod program;
pub mod publisher;
mod retention;
pub mod serve;
pub mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use bus::{Bus, ConsumerOptions};
use contracts::{DetectorName, TopicRole, groups};
use platform::Health;
use platform::traces::Traces;
use settings::{Check, SettingErrors};
use store::Blobs;
use tokio_util::sync::CancellationToken;
use vision::inference::DetectorSpec;
use vision::pipeline::Pipeline;

pub use config::{Config, SharedArgs};
use consumer::FrameParser;
use crash_log::CrashLog;
use gallery::Galleries;
use identity::FaceIdentifier;
use retention::Sweeper;
use worker::{FrameProcessor, KeptImages, Worker};

/// The backends of the worker.
#[derive(Clone)]
pub struct Deps {
    /// The bus with the frames and results topics.
    pub bus: Arc<dyn Bus>,
    /// The store of images.
    pub blobs: Arc<dyn Blobs>,
    /// Starts the spans of the service.
    pub traces: Traces,
    /// The enrolled faces, with which faces are compared if the settings say so.
    pub galleries: Option<Galleries>,
    /// Set by [`run`] when all models are loaded, read by [`health`].
    models_loaded: Arc<AtomicBool>,
    /// What [`run`] misses of the detectors' crop models, read by [`health`].
    missing_crop_models: Arc<OnceLock<String>>,
}

impl Deps {
    /// A bus and a blob store, without traces.
    pub fn new(bus: Arc<dyn Bus>, blobs: Arc<dyn Blobs>) -> Self {
        Self {
            bus,
            blobs,
            traces: Traces::off(),
            galleries: None,
            models_loaded: Arc::default(),
            missing_crop_models: Arc::default(),
        }
    }
}

/// Readiness: the bus and the blob store are reachable, and the models are loaded. Without a crop model the worker is degraded.
pub fn health(_config: &Config, deps: &Deps) -> Health {
    Health::default()
        .with_shared("bus", &deps.bus, |bus| async move { bus.check().await })
        .with_shared("blobs", &deps.blobs, |blobs| async move { blobs.check().await })
        .with_shared("model loaded", &deps.models_loaded, |loaded| async move {
            if loaded.load(Ordering::Relaxed) { Ok(()) } else { Err("the models are not loaded yet") }
        })
        .with_optional_shared("crop models", Some(deps.missing_crop_models.clone()), |missing| async move {
            missing.get().map_or(Ok(()), |missing| Err(missing.clone()))
        })
}

/// Runs the detectors of the settings until `stop`.
///
/// # Errors
/// A detector cannot be opened (the message names the setting and the remedy), or the worker cannot continue.
pub async fn run(config: Config, shared: SharedArgs, deps: Deps, stop: CancellationToken) -> anyhow::Result<()> {
    let mut detectors = detectors(&config, &shared)?;
    let identifier = identifier(&config, &deps, &mut detectors).await?;
    if let Some(missing) = config.models.missing_crop_models(&shared.frames.detectors)? {
        tracing::warn!("{missing}");
        // Set once: a process has one set of detectors.
        drop(deps.missing_crop_models.set(missing));
    }
    run_with(detectors, identifier, config, shared, deps, stop).await
}

/// What compares faces, if the settings say so. The detector of faces then also makes their embeddings.
///
/// It begins with the model that compares now. Where that is not known or cannot be opened, with the first of the file of models.
async fn identifier(
    config: &Config,
    deps: &Deps,
    detectors: &mut [DetectorSpec],
) -> anyhow::Result<Option<FaceIdentifier>> {
    let identity = &config.identity;
    let face = detectors.iter_mut().find(|detector| detector.name.as_str() == identity::DETECTOR);
    let (Some(face), Some(galleries), true) = (face, &deps.galleries, identity.faces_live) else { return Ok(None) };
    let (models, inference, name) = (config.models.clone(), config.inference.clone(), face.name.clone());
    let make = move |model: Option<&str>| models.with_embeddings(&name, model, &inference);
    let active = galleries.active_model().await.ok().flatten();
    let opened = active.and_then(|model| make(Some(&model)).ok());
    let (spec, model) = opened.map_or_else(|| make(None), Ok).context("SIGHTLINE_FACES_LIVE")?;
    *face = spec;
    let identifier = FaceIdentifier::new(galleries.clone(), &model, identity.faces_live_false_matches)?;
    let settings = config.inference.settings(config.models.onnx.execution_provider);
    Ok(Some(identifier.with_other_models(settings, move |model| Ok(make(Some(model))?.0))))
}

/// The detectors of the settings, ready to be opened.
///
/// # Errors
/// A detector is unknown or none of its model files exists; the message names the setting and the remedy.
pub fn detectors(config: &Config, shared: &SharedArgs) -> anyhow::Result<Vec<DetectorSpec>> {
    Ok(config.models.detectors(&shared.frames.detectors, &config.inference)?)
}

/// [`run`] with the given detectors.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    detectors: Vec<DetectorSpec>,
    identifier: Option<FaceIdentifier>,
    config: Config,
    shared: SharedArgs,
    deps: Deps,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    SettingErrors::result_of(|errors| config.check(errors))?;
    anyhow::ensure!(!detectors.is_empty(), "SIGHTLINE_DETECTORS: name at least one detector");
    let names: Vec<DetectorName> = detectors.iter().map(|detector| detector.name.clone()).collect();
    let group = groups::detector_worker(&names);
    let crash_log = open_crash_log(&config, &deps, &group).await?;
    let pipeline = Pipeline::start(detectors, config.pipeline(&shared.frames)).await?;
    deps.models_loaded.store(true, Ordering::Relaxed);
    tracing::info!(group, "consuming frames from {}, images in {}", deps.bus.describe(), deps.blobs.describe());
    let images = KeptImages {
        are_kept: config.keep_images,
        of_strangers: shared.strangers.faces_strangers_retention.map(|retention| retention.min(config.image_retention)),
    };
    let processor = FrameProcessor::new(pipeline, crash_log, &deps, images, identifier);
    let options = ConsumerOptions {
        max_in_flight: config.capacity.worker_frames,
        max_in_flight_bytes: config.capacity.worker_bytes,
        ..ConsumerOptions::default()
    };
    let sweeper = Sweeper {
        bus: deps.bus.clone(),
        blobs: deps.blobs.clone(),
        group: group.clone(),
        kept_images: config.image_retention,
        inbox: shared.topics.load()?.get(TopicRole::Frames).retention,
    };
    let worker = Worker {
        bus: deps.bus.clone(),
        group,
        options,
        parser: FrameParser::new(names),
        processor: Arc::new(processor),
    };
    tokio::select! {
        ended = worker.run(stop) => ended,
        () = sweeper.run() => Ok(()),
        () = sweep_galleries(deps.galleries) => Ok(()),
    }
}

async fn sweep_galleries(galleries: Option<Galleries>) {
    match galleries {
        Some(galleries) => galleries.sweep_regularly().await,
        None => std::future::pending().await,
    }
}

async fn open_crash_log(config: &Config, deps: &Deps, group: &str) -> anyhow::Result<CrashLog> {
    let topic_id = deps.bus.topic_id(TopicRole::Frames).await.context("cannot query the frames topic")?;
    let ranges = deps.bus.ranges(TopicRole::Frames).await.context("cannot query the frames topic")?;
    let earliest =
        |partition| ranges.iter().find(|range| range.partition == partition).map_or(i64::MAX, |range| range.earliest);
    let folder = config.state_dir();
    CrashLog::open(&folder, group, &topic_id, earliest).with_context(|| {
        format!(
            "SIGHTLINE_WORKER_STATE_DIR: cannot write to {}; set it to a folder that this worker can write",
            folder.display()
        )
    })
}
