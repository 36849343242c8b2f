//! The stages of the worker alone (decode, resize, inference, suppression), without queues or a log, on a number of threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use contracts::FrameArgs;
use detector_worker::Config;
use vision::media::{self, DecodeLimits};
use vision::model::{Detector, Image};

use super::images;
use super::measured::{WorkDone, serve, stages};

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct StagesChild {
    /// Folder of the images
    images: PathBuf,
    /// Decode each image every time
    #[arg(long)]
    decode: bool,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    frames: FrameArgs,
}

/// The detector of one thread, and the duration of its calls.
struct ThreadDetector {
    detector: Box<dyn Detector>,
    calls: Vec<f64>,
    decoding: f64,
}

impl StagesChild {
    /// Processes frames for each command on standard input.
    pub async fn run(self) -> anyhow::Result<()> {
        platform::telemetry::start_metrics();
        let options = self.config.models.runtime(&self.config.inference);
        let (registry, detector) = (self.config.models.registry()?, self.frames.detectors.first());
        let detector = detector.context("SIGHTLINE_DETECTORS: name a detector")?.clone();
        let encoded = images::read(&self.images)?;
        let images = encoded.into_iter().map(decoded).collect::<anyhow::Result<Vec<_>>>()?;
        let threads = self.config.inference.inference_threads(options.provider);
        let opened = tokio::task::spawn_blocking(move || {
            let open = || {
                Ok(Mutex::new(ThreadDetector {
                    detector: registry.open(&detector, &options)?,
                    calls: Vec::new(),
                    decoding: 0.0,
                }))
            };
            std::iter::repeat_with(open).take(threads).collect::<anyhow::Result<Vec<_>>>()
        });
        let all = Arc::new((opened.await??, images));
        let (decode, warm) = (self.decode, all.1.len().max(threads));
        let batch = self.config.inference.batch_size.unwrap_or(1);
        let run = move |frames: usize| {
            let all = all.clone();
            async move { tokio::task::spawn_blocking(move || work(&all.0, &all.1, frames, batch, decode)).await? }
        };
        // Warm-up: memory grows until it fits the largest image.
        run(warm * batch).await?;
        serve(async |frames| run(frames).await).await
    }
}

fn decoded(encoded: Bytes) -> anyhow::Result<Arc<Image>> {
    let pixels = media::decode(&encoded, &DecodeLimits::default())?;
    Ok(Arc::new(Image { pixels, encoded, media_type: "image/jpeg", embed_faces: false }))
}

/// Processes this many frames on all threads; each thread processes the next free batch.
fn work(
    threads: &[Mutex<ThreadDetector>],
    images: &[Arc<Image>],
    frames: usize,
    batch: usize,
    decode: bool,
) -> anyhow::Result<WorkDone> {
    let before = stages(&platform::telemetry::metrics().render());
    let next = Mutex::new((0..frames).step_by(batch));
    let next = &next;
    std::thread::scope(|scope| {
        let works = threads.iter().map(|thread| {
            scope.spawn(move || -> anyhow::Result<()> {
                let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
                loop {
                    let Some(start) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else { return Ok(()) };
                    let batch = (start..frames.min(start + batch)).map(|number| &images[number % images.len()]);
                    thread.detect(batch, decode)?;
                }
            })
        });
        let works: Vec<_> = works.collect();
        works.into_iter().try_for_each(|work| work.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")))
    })?;
    let mut done = WorkDone {
        stages: stages(&platform::telemetry::metrics().render()),
        threads: threads.len(),
        ..WorkDone::default()
    };
    for (stage, seconds) in &mut done.stages {
        *seconds -= before.get(stage).copied().unwrap_or_default();
    }
    for thread in threads {
        let mut thread = thread.lock().unwrap_or_else(PoisonError::into_inner);
        done.calls.append(&mut thread.calls);
        *done.stages.entry("decode".to_owned()).or_default() += std::mem::take(&mut thread.decoding);
    }
    done.calls.sort_by(f64::total_cmp);
    Ok(done)
}

impl ThreadDetector {
    /// One call of the detector.
    fn detect<'p>(&mut self, images: impl Iterator<Item = &'p Arc<Image>>, decode: bool) -> anyhow::Result<()> {
        let started = Instant::now();
        let with_pixels = |image: &Arc<Image>| if decode { decoded(image.encoded.clone()) } else { Ok(image.clone()) };
        let batch = images.map(with_pixels).collect::<anyhow::Result<Vec<_>>>()?;
        let ready = Instant::now();
        self.detector.detect(&batch).into_iter().try_for_each(|outcome| outcome.map(drop))?;
        self.decoding += (ready - started).as_secs_f64();
        self.calls.push(ready.elapsed().as_secs_f64());
        Ok(())
    }
}
