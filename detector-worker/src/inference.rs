//! A detector behind a handle: its sessions live on threads of their own, its callers in tasks.
//!
//! In: decoded pictures. Out: what the detector says of each. Sessions are opened on the threads that use them and never
//! leave them. The queue before them has a bounded number of places; who finds none waits. A detector that panics is opened
//! anew, and the pictures of that call are told so; its thread lives on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use contracts::DetectorName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::batcher::Batcher;
use crate::image::Image;
use crate::model::{DetectError, Detector, Outcome, Picture};

/// Opens a detector for the calling thread, which is none of an async runtime.
pub type Open = Arc<dyn Fn() -> anyhow::Result<Box<dyn Detector>> + Send + Sync>;

/// A detector that is to run.
#[derive(Clone)]
pub struct DetectorSpec {
    /// Its name.
    pub name: DetectorName,
    /// What it is, for the start-up line: the model's file or address, and what it runs on.
    pub description: String,
    /// Opens it, once for each thread.
    pub open: Open,
}

/// How a detector's threads work.
#[derive(Debug, Clone, Copy)]
pub struct InferenceSettings {
    /// How many threads, each with a session.
    pub threads: usize,
    /// Pictures for each call; what the detector can use, where it is not said.
    pub batch_size: Option<usize>,
    /// Longest wait of a batch's first picture for others.
    pub batch_wait: Duration,
}

/// A running detector. Its threads end when it is dropped and what they have in hand is done.
pub struct Inference {
    name: DetectorName,
    model: String,
    jobs: crossbeam_channel::Sender<Job>,
    places: Arc<Semaphore>,
}

/// A picture in the queue.
struct Job {
    picture: Arc<Picture>,
    answer: oneshot::Sender<Outcome>,
    waiting_since: Instant,
    _place: OwnedSemaphorePermit,
}

/// What a thread says once its session is open.
struct Opened {
    model: String,
    max_batch: usize,
}

impl Inference {
    /// Opens the detector on all its threads and returns when every one is ready.
    ///
    /// # Errors
    /// When one cannot be opened; the message names the setting and the remedy.
    pub async fn start(spec: DetectorSpec, settings: InferenceSettings) -> anyhow::Result<Self> {
        let (jobs, queue) = crossbeam_channel::unbounded();
        // The first says how large batches are, and finds what is wrong before it is found many times over.
        let (first, opened) = spawn(&spec, 0, None)?;
        let opened = opened.await.context("the inference thread ended while it opened the detector")??;
        let batch = settings.batch_size.unwrap_or(opened.max_batch).max(1);
        let batcher = Batcher::new(queue, batch, settings.batch_wait);
        // Nobody listens only when the thread is gone, and then the queue says so.
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
        let places = Arc::new(Semaphore::new(2 * settings.threads * batch));
        Ok(Self { name: spec.name, model: opened.model, jobs, places })
    }

    /// The detector's name.
    pub fn name(&self) -> &DetectorName {
        &self.name
    }

    /// The model's name in `models.yaml`.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What the detector says of a picture. Waits for a place in the queue.
    ///
    /// # Errors
    /// When the detector's threads are gone.
    pub async fn detect(&self, picture: Arc<Picture>) -> anyhow::Result<Outcome> {
        let gone = || format!("the threads of the detector {} are gone", self.name);
        let place = self.places.clone().acquire_owned().await.with_context(gone)?;
        let (answer, answered) = oneshot::channel();
        let job = Job { picture, answer, waiting_since: Instant::now(), _place: place };
        self.jobs.send(job).map_err(|_| anyhow::anyhow!(gone()))?;
        answered.await.with_context(gone)
    }

    /// Whether the detector can look at a plain grey picture: if it cannot, it is not a picture's fault that it failed.
    ///
    /// # Errors
    /// When the detector's threads are gone.
    pub async fn is_sound(&self) -> anyhow::Result<bool> {
        const SIDE: u32 = 64;
        let grey = Image::from_rgb(SIDE, SIDE, vec![128; (SIDE * SIDE * 3) as usize]).context("a grey picture")?;
        let picture = Picture { image: grey, encoded: Bytes::new(), media_type: "image/png" };
        Ok(self.detect(Arc::new(picture)).await?.is_ok())
    }
}

type Ready = (std::sync::mpsc::SyncSender<Batcher<Job>>, oneshot::Receiver<anyhow::Result<Opened>>);

/// Starts a thread that opens the detector, says so, and works off the batches of `batcher`, which may come later.
fn spawn(spec: &DetectorSpec, number: usize, batcher: Option<Batcher<Job>>) -> anyhow::Result<Ready> {
    let (said, opened) = oneshot::channel();
    let (later, given) = std::sync::mpsc::sync_channel(1);
    let open = spec.open.clone();
    let work = move || {
        let mut detector = match open() {
            Ok(detector) => detector,
            Err(error) => return drop(said.send(Err(error))),
        };
        let ready = Opened { model: detector.model().to_owned(), max_batch: detector.max_batch() };
        if said.send(Ok(ready)).is_err() {
            return;
        }
        let Some(batcher) = batcher.or_else(|| given.recv().ok()) else { return };
        while let Some(batch) = batcher.next() {
            if !answer(&mut *detector, batch) {
                match open() {
                    Ok(anew) => detector = anew,
                    Err(error) => {
                        return tracing::error!(error = format!("{error:#}"), "the detector cannot be reopened");
                    }
                }
            }
        }
    };
    std::thread::Builder::new()
        .name(format!("infer-{}-{number}", spec.name))
        .spawn(work)
        .context("the system has no room for another thread")?;
    Ok((later, opened))
}

/// Runs one batch and answers every job of it; whether the detector is still to be trusted.
fn answer(detector: &mut dyn Detector, batch: Vec<Job>) -> bool {
    let begun = Instant::now();
    for job in &batch {
        crate::meters::stage("queue", begun - job.waiting_since);
    }
    crate::meters::batch(detector.name(), batch.len());
    let pictures: Vec<Arc<Picture>> = batch.iter().map(|job| job.picture.clone()).collect();
    let outcomes = catch_unwind(AssertUnwindSafe(|| detector.detect(&pictures)));
    let sound = outcomes.as_ref().is_ok_and(|outcomes| outcomes.len() == batch.len());
    crate::meters::stage("infer", begun.elapsed());
    drop(pictures);
    let mut outcomes = outcomes.unwrap_or_default().into_iter();
    for job in batch {
        let gave_up = || Err(DetectError::Inference("the detector gave up".to_owned()));
        let outcome = if sound { outcomes.next().unwrap_or_else(gave_up) } else { gave_up() };
        // Who asked may have left; then nobody wants to know.
        drop(job.answer.send(outcome));
    }
    sound
}
