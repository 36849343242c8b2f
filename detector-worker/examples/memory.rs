//! Measures memory and CPU time of a worker's decoders and detectors:
//! `cargo run --release -p detector-worker --example memory -- [SETTINGS] PASSES FILE...`
//!
//! The settings are the worker's, such as `--models-file` and `--inference-threads`. In every pass
//! all files are decoded and passed to the detector concurrently. The example prints the memory
//! before the first pass, the peak, the memory after the last pass and after twelve idle seconds,
//! and the CPU time (user and system) per image.
//! `docs/decisions/memory.md` has the figures.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use detector_worker::{Config, SharedArgs};
use futures::future::try_join_all;
use vision::pipeline::Pipeline;

/// Time in which a detector without work has returned its memory.
const IDLE: Duration = Duration::from_secs(12);

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    shared: SharedArgs,
    /// Number of passes over the files
    passes: u32,
    /// Image files
    files: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Settings { config, shared, passes, files } = Settings::parse();
    let images: Vec<Bytes> = files
        .iter()
        .map(|file| Ok(fs::read(file).with_context(|| file.clone())?.into()))
        .collect::<anyhow::Result<_>>()?;
    let pipeline = Arc::new(
        Pipeline::start(detector_worker::detectors(&config, &shared)?, config.pipeline(&shared.frames)).await?,
    );
    let opened = status("VmRSS")?;
    pass(&pipeline, &images).await?;
    let started = cpu_time()?;
    for _ in 0..passes {
        pass(&pipeline, &images).await?;
    }
    let per_image = (cpu_time()? - started) / f64::from(passes) / images.len() as f64;
    let busy = status("VmRSS")?;
    tokio::time::sleep(IDLE).await;
    println!(
        "opened {opened} MB, peak {} MB, after the last pass {busy} MB, idle {} MB, {:.1} ms of CPU per image",
        status("VmHWM")?,
        status("VmRSS")?,
        per_image * 1e3
    );
    Ok(())
}

async fn pass(pipeline: &Arc<Pipeline>, images: &[Bytes]) -> anyhow::Result<()> {
    let process = async |encoded: &Bytes| -> anyhow::Result<()> {
        let failed = |failure: vision::pipeline::Failure| anyhow::anyhow!(failure.message);
        let pixels = pipeline.reserve(encoded).await?.map_err(failed)?;
        let decoded = pipeline.decode(pixels, encoded.clone(), false).await?.map_err(failed)?;
        for outcome in pipeline.detect(&decoded.image, &[0]).await? {
            outcome?;
        }
        Ok(())
    };
    try_join_all(images.iter().map(process)).await.map(drop)
}

/// A field of `/proc/self/status`, in MB.
fn status(field: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1024 / 1_000_000)
}

/// CPU time of this process in seconds, user and system.
fn cpu_time() -> anyhow::Result<f64> {
    // The second field is the program's name, which may contain blanks; the clock has 100 ticks per second on Linux.
    let text = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = text.rsplit_once(')').context("no program name")?;
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}
