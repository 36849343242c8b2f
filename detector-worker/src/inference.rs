//! A detector behind a handle: its sessions run on their own threads, its callers are async tasks.
//!
//! In: decoded images. Out: the detector's outcome for each. A session is opened on the thread that uses it and never leaves
//! it. The queue has a bounded number of slots; a caller without one waits. A job whose caller is gone is dropped before
//! inference. A detector that panics fails the images of that call and is opened again; its thread lives on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use contracts::DetectorName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::batcher::Batcher;
use crate::model::{DetectError, Detector, Image, Outcome};
use crate::pixels::Pixels;

/// Opens a detector for the calling thread, which is not a thread of an async runtime.
pub type Open = Arc<dyn Fn() -> anyhow::Result<Box<dyn Detector>> + Send + Sync>;

/// A detector to start.
#[derive(Clone)]
pub struct DetectorSpec {
    /// Its name.
    pub name: DetectorName,
    /// The model's file or address and its execution provider, for the log.
    pub description: String,
    /// Opens it; called once per thread.
    pub open: Open,
}

/// How a detector's threads work.
#[derive(Debug, Clone, Copy)]
pub struct InferenceSettings {
    /// Number of threads, each with its own session.
    pub threads: usize,
    /// Images per call; `None` for what the detector can use.
    pub batch_size: Option<usize>,
    /// Longest time that the first image of a batch waits for others.
    pub batch_wait: Duration,
}

/// A running detector. Dropping it ends its threads after the jobs they have.
pub struct Inference {
    name: DetectorName,
    model: String,
    jobs: crossbeam_channel::Sender<Job>,
    queue_slots: Arc<Semaphore>,
}

/// An image in the queue.
struct Job {
    image: Arc<Image>,
    answer: oneshot::Sender<Outcome>,
    queued_at: Instant,
    _slot: OwnedSemaphorePermit,
}

/// What a thread reports once its session is open.
struct Opened {
    model: String,
    max_batch: usize,
}

impl Inference {
    /// Opens the detector on all its threads. Returns when every one is ready.
    ///
    /// # Errors
    /// The detector cannot be opened; the message names the setting and the remedy.
    pub async fn start(spec: DetectorSpec, settings: InferenceSettings) -> anyhow::Result<Self> {
        let (jobs, queue) = crossbeam_channel::unbounded();
        // The first thread reports the batch size, and reports an error once instead of once per thread.
        let (first, opened) = spawn(&spec, 0, None)?;
        let opened = opened.await.context("the inference thread ended while it opened the detector")??;
        let batch = settings.batch_size.unwrap_or(opened.max_batch).max(1);
        let batcher = Batcher::new(queue, batch, settings.batch_wait);
        // Fails only when the thread is gone, and then `detect` reports it.
        drop(first.send(batcher.clone()));
        for number in 1..settings.threads {
            let (ready, opened) = spawn(&spec, number, Some(batcher.clone()))?;
            drop(ready);
            opened.await.context("the inference thread ended while it opened the detector")??;
        }
        tracing::info!(
            detector = %spec.name, model = opened.model, threads = settings.threads, batch.size = batch,
            "detector {} runs {}", spec.name, spec.description
        );
        let queue_slots = Arc::new(Semaphore::new(2 * settings.threads * batch));
        Ok(Self { name: spec.name, model: opened.model, jobs, queue_slots })
    }

    /// The detector's name.
    pub fn name(&self) -> &DetectorName {
        &self.name
    }

    /// The model's name in `models.yaml`.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The detector's outcome for an image. Waits for a slot of the queue. Dropping the future cancels the job unless its
    /// batch has started.
    ///
    /// # Errors
    /// The detector's threads are gone.
    pub async fn detect(&self, image: Arc<Image>) -> anyhow::Result<Outcome> {
        let gone = || format!("the threads of the detector {} are gone", self.name);
        let slot = self.queue_slots.clone().acquire_owned().await.with_context(gone)?;
        let (answer, outcome) = oneshot::channel();
        let job = Job { image, answer, queued_at: Instant::now(), _slot: slot };
        self.jobs.send(job).ok().with_context(gone)?;
        outcome.await.with_context(gone)
    }

    /// Whether the detector processes a blank image. After a failed image this tells a bad image from a bad device.
    ///
    /// # Errors
    /// The detector's threads are gone.
    pub async fn processes_blank_image(&self) -> anyhow::Result<bool> {
        const SIDE: u32 = 64;
        let pixels = Pixels::from_rgb(SIDE, SIDE, vec![128; (SIDE * SIDE * 3) as usize]).context("a blank image")?;
        let image = Image { pixels, encoded: Bytes::new(), media_type: "image/png" };
        Ok(self.detect(Arc::new(image)).await?.is_ok())
    }
}

type Ready = (std::sync::mpsc::SyncSender<Batcher<Job>>, oneshot::Receiver<anyhow::Result<Opened>>);

/// Starts a thread that opens the detector, reports it, and processes the batches of `batcher`, which may be sent later.
fn spawn(spec: &DetectorSpec, number: usize, batcher: Option<Batcher<Job>>) -> anyhow::Result<Ready> {
    let (report, opened) = oneshot::channel();
    let (later, received) = std::sync::mpsc::sync_channel(1);
    let open = spec.open.clone();
    let work = move || {
        let mut detector = match open() {
            Ok(detector) => detector,
            Err(error) => return drop(report.send(Err(error))),
        };
        let ready = Opened { model: detector.model().to_owned(), max_batch: detector.max_batch() };
        if report.send(Ok(ready)).is_err() {
            return;
        }
        let Some(batcher) = batcher.or_else(|| received.recv().ok()) else { return };
        while let Some(batch) = batcher.next() {
            if run_batch(&mut *detector, batch) {
                continue;
            }
            match open() {
                Ok(reopened) => detector = reopened,
                Err(error) => return tracing::error!(error = format!("{error:#}"), "the detector cannot be reopened"),
            }
        }
    };
    std::thread::Builder::new()
        .name(format!("infer-{}-{number}", spec.name))
        .spawn(work)
        .context("the system cannot start another thread")?;
    Ok((later, opened))
}

/// Runs one batch and answers its jobs. Returns `false` when the detector must be opened again.
fn run_batch(detector: &mut dyn Detector, mut batch: Vec<Job>) -> bool {
    let started = Instant::now();
    batch.retain(|job| !job.answer.is_closed());
    if batch.is_empty() {
        return true;
    }
    for job in &batch {
        crate::meters::stage("queue", started - job.queued_at);
    }
    crate::meters::batch(detector.name(), batch.len());
    let images: Vec<Arc<Image>> = batch.iter().map(|job| job.image.clone()).collect();
    let outcomes = catch_unwind(AssertUnwindSafe(|| detector.detect(&images)));
    let complete = outcomes.as_ref().is_ok_and(|outcomes| outcomes.len() == batch.len());
    crate::meters::stage("infer", started.elapsed());
    drop(images);
    let mut outcomes = outcomes.unwrap_or_default().into_iter();
    for job in batch {
        let panicked = || Err(DetectError::Inference("the detector panicked".to_owned()));
        let outcome = if complete { outcomes.next().unwrap_or_else(panicked) } else { panicked() };
        // Fails when the caller is gone.
        drop(job.answer.send(outcome));
    }
    complete
}
