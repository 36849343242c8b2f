//! The detector worker: frames per second of processor time, compared with the sum of its parts and with a Python loop.
//!
//! The variants take turns on the same images in the same order. Each runs in a child process that has loaded its model
//! and processed every image once:
//! - **the worker**: frames from a log through its whole pipeline until every result is published and every offset
//!   committed; the `detector-worker` program on Kafka, and its library on the embedded log, which runs in the same process; its share is measured separately;
//! - **the parts**: decode, resize, inference and suppression, one after the other in each thread, without queues;
//! - **the Python loop** of `crates/vision/tests/reference/`.
//!
//! The parts have as many threads, and Python as many loops, as the worker has sessions, because concurrent sessions share caches
//! and memory bandwidth and slow each other down.
//!
//! Then: one process with one session of one thread against two, each pinned to a core; numbers of sessions and threads; batches;
//! memory over images of many sizes; and the worker's rate as a share of the network's alone. On a GPU only the last three are
//! measured, with `nvidia-smi`.

mod cluster;
mod gpu;
mod images;
mod load;
mod measured;
mod peer;
mod pipeline;
mod resources;
mod speed;
mod stages;

use std::path::PathBuf;

use anyhow::Context;
use bus::KafkaArgs;
use clap::Args;
use contracts::DetectorName;
use vision::ModelArgs;
use vision::runtime::ExecutionProvider;

use super::RunLength;
use super::child::ChildProcess;
use super::namespace::Servers;
use super::report::Report;

pub use pipeline::PipelineChild;
pub use stages::StagesChild;

/// Folder of the Python loop in the source.
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vision/tests/reference");

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct WorkerBench {
    /// JPEG files or folders [default: SIGHTLINE_SAMPLES_DIR, then SIGHTLINE_TEST_PHOTO]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Name of the model [default: the detector's preferred model that is installed]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Batch sizes to time
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,2,4,8")]
    batch: Vec<usize>,

    /// Folder of the Python loop and its requirements [default: the one in the source]
    #[arg(long, value_name = "PATH", default_value = REFERENCE, hide_default_value = true)]
    reference: PathBuf,

    #[command(flatten)]
    models: ModelArgs,
}

/// Input of all sections of the bench.
struct Setup<'b> {
    bench: &'b WorkerBench,
    kafka: &'b KafkaArgs,
    run_length: RunLength,
    folder: tempfile::TempDir,
    detector: DetectorName,
    model: String,
    settings: Vec<(&'static str, String)>,
    images: PathBuf,
    count: usize,
}

impl WorkerBench {
    /// Measures everything.
    pub async fn run(&self, servers: &Servers, run_length: RunLength) -> anyhow::Result<Report> {
        let mut report = Report::new("worker");
        let setup = Setup::prepare(self, &servers.kafka, run_length, &mut report)?;
        if self.models.onnx.execution_provider == ExecutionProvider::Cpu {
            speed::compare(&setup, &mut report).await?;
            speed::scale(&setup, &mut report).await?;
            resources::sessions(&setup, &mut report).await?;
        }
        let fastest = resources::batches(&setup, &mut report).await?;
        resources::share(&setup, fastest, &mut report).await?;
        resources::memory(&setup, &mut report).await?;
        Ok(report)
    }
}

impl<'b> Setup<'b> {
    fn prepare(
        bench: &'b WorkerBench,
        kafka: &'b KafkaArgs,
        run_length: RunLength,
        report: &mut Report,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("sightline-bench-worker-").tempdir()?;
        let images = folder.path().join("images");
        let described = images::gather(&bench.files, &images)?;
        let count = images::paths(&images)?.len();
        let registry = bench.models.registry()?;
        let model = match &bench.model {
            Some(name) => registry.model(name).with_context(|| format!("--model: there is no model {name}"))?,
            None => registry.chosen(&"face".parse()?, &bench.models.dir())?,
        };
        let detector: DetectorName = model.task.parse()?;
        // A folder with only this model, so that every variant uses it.
        let models = folder.path().join("models");
        std::fs::create_dir(&models)?;
        if let Some(weights) = model.weights() {
            let file = std::path::absolute(weights.verified(&bench.models.dir())?)?;
            std::os::unix::fs::symlink(file, models.join(&weights.file))?;
        }
        let settings = bench.settings(&models, &detector);
        report.setting("images", described);
        report.setting("model", model.name.clone());
        report.setting("execution_provider", bench.models.onnx.execution_provider.setting());
        let model = model.name.clone();
        Ok(Self { bench, kafka, run_length, folder, detector, model, settings, images, count })
    }

    /// This program as a child process, with further settings.
    fn child(&self, arguments: &[&str], settings: &[(&'static str, String)]) -> anyhow::Result<ChildProcess> {
        ChildProcess::bench(arguments, &[&self.settings[..], settings].concat())
    }

    /// At least this many frames, rounded up so that every image occurs equally often.
    fn whole(&self, frames: usize) -> usize {
        frames.next_multiple_of(self.count)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl WorkerBench {
    fn settings(&self, models: &std::path::Path, detector: &DetectorName) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("SIGHTLINE_MODELS_DIR", models.display().to_string()),
            ("SIGHTLINE_DETECTORS", detector.to_string()),
            ("SIGHTLINE_EXECUTION_PROVIDER", self.models.onnx.execution_provider.setting().to_owned()),
            ("SIGHTLINE_GPU_DEVICE", self.models.onnx.gpu_device.to_string()),
            ("SIGHTLINE_ALLOW_NONCOMMERCIAL", self.models.folder.allow_noncommercial.to_string()),
        ];
        let paths = [
            ("SIGHTLINE_MODELS_FILE", &self.models.folder.models_file),
            ("SIGHTLINE_ORT_DYLIB_PATH", &self.models.onnx.ort_dylib_path),
        ];
        settings
            .extend(paths.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?.display().to_string()))));
        settings
    }
}
