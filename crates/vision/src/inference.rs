//! A detector behind a handle: its sessions run on their own threads, its callers are async tasks.
//!
//! In: decoded images. Out: the detector's outcome for each. A session is opened on the thread that uses it and never leaves
//! it. The queue has a bounded number of slots; a caller without one waits. A job of a caller that no longer waits is
//! dropped before inference. A detector that panics fails the images of that call and is opened again on the same thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use contracts::DetectorName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::batcher::{Batcher, Next};
use crate::idle_memory::BusyThread;
use crate::model::{DetectError, Detector, Image, Outcome};
use crate::pixels::Pixels;

/// Idle time after which a session releases the memory of earlier jobs. Long enough that a busy
/// worker does not allocate it again and again. `docs/decisions/memory.md` has the figures.
pub(crate) const RELEASE_AFTER: Duration = Duration::from_secs(10);

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
    /// Maximum time that the first image of a batch waits for others.
    pub batch_wait: Duration,
    /// Idle time after which a session releases memory.
    pub release_after: Duration,
}

/// A running detector. Dropping it ends its threads after their current jobs.
pub struct Inference {
    name: DetectorName,
    model: String,
    jobs: crossbeam_channel::Sender<Job>,
    queue_slots: Arc<Semaphore>,
}

/// An image in the queue.
struct Job {
    image: Arc<Image>,
    reply: oneshot::Sender<Outcome>,
    queued_at: Instant,
    _slot: OwnedSemaphorePermit,
}

/// The report of a thread when its session is open.
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
        let (first, opened) = spawn(&spec, settings, 0, None)?;
        let opened = opened.await.context("the inference thread ended while it opened the detector")??;
        let batch = settings.batch_size.unwrap_or(opened.max_batch).max(1);
        let batcher = Batcher::new(queue, batch, settings.batch_wait);
        // Fails only if the thread has ended; `detect` then reports that.
        drop(first.send(batcher.clone()));
        for number in 1..settings.threads {
            let (ready, opened) = spawn(&spec, settings, number, Some(batcher.clone()))?;
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
    /// The detector's threads have ended.
    pub async fn detect(&self, image: Arc<Image>) -> anyhow::Result<Outcome> {
        let ended = || format!("the threads of the detector {} have ended", self.name);
        let slot = self.queue_slots.clone().acquire_owned().await.with_context(ended)?;
        let (reply, outcome) = oneshot::channel();
        let job = Job { image, reply, queued_at: Instant::now(), _slot: slot };
        self.jobs.send(job).ok().with_context(ended)?;
        outcome.await.with_context(ended)
    }

    /// Whether the detector processes a blank image. After a failed image this distinguishes a bad image from a bad device.
    ///
    /// # Errors
    /// The detector's threads have ended.
    pub async fn processes_blank_image(&self) -> anyhow::Result<bool> {
        const SIDE: u32 = 64;
        let pixels = Pixels::from_rgb(SIDE, SIDE, vec![128; (SIDE * SIDE * 3) as usize]).context("a blank image")?;
        let image = Image { pixels, encoded: Bytes::new(), media_type: "image/png", embed_faces: false };
        Ok(self.detect(Arc::new(image)).await?.is_ok())
    }
}

type Ready = (std::sync::mpsc::SyncSender<Batcher<Job>>, oneshot::Receiver<anyhow::Result<Opened>>);

/// Starts a thread that opens the detector, reports it, and processes the batches of `batcher`, which may be sent later.
fn spawn(
    spec: &DetectorSpec,
    settings: InferenceSettings,
    number: usize,
    batcher: Option<Batcher<Job>>,
) -> anyhow::Result<Ready> {
    let release_after = settings.release_after;
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
        // Memory is released once after work, and again only after further work.
        let mut busy = Some(BusyThread::begin());
        loop {
            let batch = match batcher.next(busy.as_ref().map(|_| release_after)) {
                Next::Batch(batch) => batch,
                Next::Idle => {
                    detector.release_memory();
                    if let Some(thread) = busy.take() {
                        thread.become_idle();
                    }
                    continue;
                }
                Next::Closed => return,
            };
            busy.get_or_insert_with(BusyThread::begin);
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

/// Runs one batch and returns the outcomes to its callers. Returns `false` when the detector must be opened again.
fn run_batch(detector: &mut dyn Detector, mut batch: Vec<Job>) -> bool {
    let started = Instant::now();
    batch.retain(|job| !job.reply.is_closed());
    if batch.is_empty() {
        return true;
    }
    for job in &batch {
        crate::metrics::stage("queue", started - job.queued_at);
    }
    crate::metrics::batch(detector.name(), batch.len());
    let images: Vec<Arc<Image>> = batch.iter().map(|job| job.image.clone()).collect();
    let outcomes = catch_unwind(AssertUnwindSafe(|| detector.detect(&images)));
    let complete = outcomes.as_ref().is_ok_and(|outcomes| outcomes.len() == batch.len());
    crate::metrics::stage("infer", started.elapsed());
    drop(images);
    let mut outcomes = outcomes.unwrap_or_default().into_iter();
    for job in batch {
        let panicked = || Err(DetectError::Inference("the detector panicked".to_owned()));
        let outcome = if complete { outcomes.next().unwrap_or_else(panicked) } else { panicked() };
        // Fails if the caller no longer waits.
        drop(job.reply.send(outcome));
    }
    complete
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::Findings;

    /// A detector that waits in each call until `open` is set, and counts its calls.
    #[derive(Default)]
    struct Counters {
        open: Mutex<bool>,
        opened: Condvar,
        images: AtomicUsize,
        releases: AtomicUsize,
    }

    struct CountingDetector {
        name: DetectorName,
        counters: Arc<Counters>,
    }

    impl Detector for CountingDetector {
        fn name(&self) -> &DetectorName {
            &self.name
        }

        fn model(&self) -> &str {
            "counting"
        }

        fn max_batch(&self) -> usize {
            1
        }

        fn detect(&mut self, batch: &[Arc<Image>]) -> Vec<Outcome> {
            self.counters.images.fetch_add(batch.len(), Ordering::SeqCst);
            let closed = self.counters.open.lock().unwrap();
            drop(self.counters.opened.wait_while(closed, |open| !*open).unwrap());
            batch.iter().map(|_| Ok(Findings::default())).collect()
        }

        fn release_memory(&mut self) {
            self.counters.releases.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Counters {
        fn open(&self) {
            *self.open.lock().unwrap() = true;
            self.opened.notify_all();
        }

        async fn until(&self, condition: impl Fn(&Self) -> bool) {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !condition(self) {
                assert!(Instant::now() < deadline, "timed out");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }

    async fn start(counters: &Arc<Counters>, release_after: Duration) -> Inference {
        let (name, counters): (DetectorName, _) = ("face".parse().unwrap(), counters.clone());
        let opened = name.clone();
        let open: Open =
            Arc::new(move || Ok(Box::new(CountingDetector { name: opened.clone(), counters: counters.clone() })));
        let settings = InferenceSettings { threads: 1, batch_size: None, batch_wait: Duration::ZERO, release_after };
        Inference::start(DetectorSpec { name, description: "counting".to_owned(), open }, settings).await.unwrap()
    }

    fn image() -> Arc<Image> {
        let pixels = Pixels::from_rgb(1, 1, vec![0; 3]).unwrap();
        Arc::new(Image { pixels, encoded: Bytes::new(), media_type: "image/png", embed_faces: false })
    }

    #[tokio::test]
    async fn a_job_of_a_disconnected_caller_is_not_inferred() {
        let counters = Arc::new(Counters::default());
        let inference = Arc::new(start(&counters, RELEASE_AFTER).await);
        let detect = || {
            let inference = inference.clone();
            tokio::spawn(async move { inference.detect(image()).await.unwrap() })
        };
        let first = detect();
        counters.until(|counters| counters.images.load(Ordering::SeqCst) == 1).await;
        let abandoned = detect();
        let deadline = Instant::now() + Duration::from_secs(60);
        while inference.jobs.is_empty() {
            assert!(Instant::now() < deadline, "the second job is not queued");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        abandoned.abort();
        assert!(abandoned.await.unwrap_err().is_cancelled());
        counters.open();
        first.await.unwrap().unwrap();
        detect().await.unwrap().unwrap();
        assert_eq!(counters.images.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_idle_session_releases_its_memory_once_after_work() {
        let counters = Arc::new(Counters::default());
        counters.open();
        let inference = start(&counters, Duration::from_millis(10)).await;
        for releases in 1..=2 {
            inference.detect(image()).await.unwrap().unwrap();
            counters.until(|counters| counters.releases.load(Ordering::SeqCst) >= releases).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(counters.releases.load(Ordering::SeqCst), releases);
        }
    }
}
