//! The detector worker: frames for each second of processor time, beside the sum of its parts and beside a Python loop.
//!
//! Sides take turns, round by round, over the same images in the same order, each in a process of its own that loaded its
//! model and saw every image once before anything is counted:
//! - **the worker**: frames from a log through its whole pipeline until every result is published and every offset
//!   committed; the `detector-worker` program on Kafka, and its library on the embedded log, whose own work is then in the same
//!   process and is measured alone beside it;
//! - **the parts**: decode, resize, inference and suppression, one after the other in each thread, and nothing between them;
//! - **the Python loop** of `detector-worker/tests/reference/`.
//!
//! There are as many threads of the parts and as many Python loops as a worker has sessions: sessions side by side share
//! caches and memory and slow each other down, whoever runs them.
//!
//! Then one session of one thread in one process against the same in two, each held to a core of its own; sessions and
//! threads; batches; memory over images of many sizes; and how much of what the network alone can do is left to the
//! worker. On a GPU only these last are measured, and `nvidia-smi` watches.

mod cluster;
mod flow;
mod gpu;
mod images;
mod load;
mod parts;
mod peer;
mod resources;
mod side;
mod speed;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use contracts::DetectorName;
use detector_worker::config::ModelArgs;
use detector_worker::runtime::ExecutionProvider;
use platform::config::KafkaArgs;

use super::Pace;
use super::child::Child;
use super::ground::Servers;
use super::report::Report;

pub use flow::Flow;
pub use parts::Parts;

/// Where the Python loop is in the source.
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../detector-worker/tests/reference");

/// What to measure.
#[derive(Debug, Args)]
pub struct WorkerBench {
    /// JPEG files, or folders of them; else what SIGHTLINE_SAMPLES_DIR or SIGHTLINE_TEST_PHOTO name
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The model; the detector's preferred one that is there when not set
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Batch sizes to time
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', default_value = "1,2,4,8")]
    batch: Vec<usize>,

    /// Folder of the Python loop, with its requirements; the one of the source when not set
    #[arg(long, value_name = "PATH", default_value = REFERENCE, hide_default_value = true)]
    reference: PathBuf,

    #[command(flatten)]
    models: ModelArgs,
}

/// What all sections of the bench need.
struct Ground<'b> {
    bench: &'b WorkerBench,
    kafka: &'b KafkaArgs,
    pace: Pace,
    folder: tempfile::TempDir,
    detector: DetectorName,
    model: String,
    settings: Vec<(&'static str, String)>,
    images: PathBuf,
    count: usize,
}

impl WorkerBench {
    /// Measures all of it.
    pub async fn run(&self, servers: &Servers, pace: Pace) -> anyhow::Result<Report> {
        let mut report = Report::new("worker");
        let ground = Ground::prepare(self, &servers.kafka, pace, &mut report)?;
        if self.models.execution_provider == ExecutionProvider::Cpu {
            speed::compare(&ground, &mut report).await?;
            speed::scale(&ground, &mut report).await?;
            resources::sessions(&ground, &mut report).await?;
        }
        let best = resources::batches(&ground, &mut report).await?;
        resources::share(&ground, best, &mut report).await?;
        resources::memory(&ground, &mut report).await?;
        Ok(report)
    }
}

impl<'b> Ground<'b> {
    fn prepare(bench: &'b WorkerBench, kafka: &'b KafkaArgs, pace: Pace, report: &mut Report) -> anyhow::Result<Self> {
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
        // A folder with this model alone, so that every side takes it.
        let models = folder.path().join("models");
        std::fs::create_dir(&models)?;
        if let Some(weights) = model.weights() {
            let file = std::path::absolute(weights.verified(&bench.models.dir())?)?;
            std::os::unix::fs::symlink(file, models.join(&weights.file))?;
        }
        let settings = bench.settings(&models, &detector);
        report.setting("images", described);
        report.setting("model", model.name.clone());
        report.setting("execution_provider", bench.models.execution_provider.setting());
        let model = model.name.clone();
        Ok(Self { bench, kafka, pace, folder, detector, model, settings, images, count })
    }

    /// A part of this program, with further settings.
    fn part(&self, arguments: &[&str], settings: &[(&'static str, String)]) -> anyhow::Result<Child> {
        Child::part(arguments, &[&self.settings[..], settings].concat())
    }

    /// So many frames, or more, that every image occurs equally often.
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
            ("SIGHTLINE_EXECUTION_PROVIDER", self.models.execution_provider.setting().to_owned()),
            ("SIGHTLINE_GPU_DEVICE", self.models.gpu_device.to_string()),
            ("SIGHTLINE_ALLOW_NONCOMMERCIAL", self.models.allow_noncommercial.to_string()),
        ];
        let paths = [
            ("SIGHTLINE_MODELS_FILE", &self.models.models_file),
            ("SIGHTLINE_ORT_DYLIB_PATH", &self.models.ort_dylib_path),
        ];
        settings
            .extend(paths.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?.display().to_string()))));
        settings
    }
}
