//! The worker's own settings: which models and on what, how much at once, where its notes are, what pictures are kept.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use jiff::{Span, SpanRelativeTo};

use crate::registry::{OpenError, Registry};
use crate::runtime::{ExecutionProvider, RuntimeOptions};

/// Everything that only the worker needs to know.
#[derive(Debug, Clone, Args)]
#[group(id = "detector-worker")]
pub struct Config {
    /// Which models there are and what they run on.
    #[command(flatten)]
    pub models: ModelArgs,

    /// How much is done at once.
    #[command(flatten)]
    pub pace: PaceArgs,

    /// Folder for notes that must survive the process; in the system's temporary folder when not set
    #[arg(long, env = "SIGHTLINE_WORKER_STATE_DIR", value_name = "PATH")]
    pub worker_state_dir: Option<PathBuf>,

    /// Keep the pictures of frames with detections
    #[arg(long, env = "SIGHTLINE_KEEP_PICTURES", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub keep_pictures: bool,

    /// How long pictures are kept, as in 12h or 7d
    #[arg(long, env = "SIGHTLINE_PICTURE_RETENTION", default_value = "7d", value_parser = duration, value_name = "TIME")]
    pub picture_retention: Duration,
}

/// Which models there are and what they run on.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// Folder of the model files; sightline/models in the user's cache when not set
    #[arg(long, env = "SIGHTLINE_MODELS_DIR", value_name = "PATH")]
    pub models_dir: Option<PathBuf>,

    /// Models and engines of your own, in the form of models.yaml
    #[arg(long, env = "SIGHTLINE_MODELS_FILE", value_name = "PATH")]
    pub models_file: Option<PathBuf>,

    /// ONNX Runtime's library; looked for beside the program and in the user's cache when not set
    #[arg(long, env = "SIGHTLINE_ORT_DYLIB_PATH", value_name = "PATH")]
    pub ort_dylib_path: Option<PathBuf>,

    /// What inference runs on
    #[arg(long, env = "SIGHTLINE_EXECUTION_PROVIDER", default_value = "cpu", value_enum, value_name = "PROVIDER")]
    pub execution_provider: ExecutionProvider,

    /// Which GPU, counted from 0
    #[arg(long, env = "SIGHTLINE_GPU_DEVICE", default_value_t = 0, value_name = "NUMBER")]
    pub gpu_device: i32,

    /// Use models whose licence forbids commercial use
    #[arg(long, env = "SIGHTLINE_ALLOW_NONCOMMERCIAL", default_value_t = false, action = ArgAction::Set, value_name = "BOOL")]
    pub allow_noncommercial: bool,
}

/// How much is done at once.
#[derive(Debug, Clone, Args)]
pub struct PaceArgs {
    /// Sessions of each detector, each on a thread of its own; one for each core on a CPU and one on a GPU when not set
    #[arg(long, env = "SIGHTLINE_INFERENCE_THREADS", value_name = "NUMBER")]
    pub inference_threads: Option<usize>,

    /// Threads inside one session
    #[arg(long, env = "SIGHTLINE_SESSION_THREADS", default_value_t = 1, value_name = "NUMBER")]
    pub session_threads: usize,

    /// Pictures decoded at once; one for each core when not set
    #[arg(long, env = "SIGHTLINE_DECODE_THREADS", value_name = "NUMBER")]
    pub decode_threads: Option<usize>,

    /// Pictures for each call of a detector; what the model and the provider can use when not set
    #[arg(long, env = "SIGHTLINE_BATCH_SIZE", value_name = "NUMBER")]
    pub batch_size: Option<usize>,

    /// Longest wait of a batch's first picture for others, in milliseconds
    #[arg(long, env = "SIGHTLINE_BATCH_WAIT_MS", default_value_t = 5, value_name = "MILLISECONDS")]
    pub batch_wait_ms: u64,

    /// Frames in hand at most
    #[arg(long, env = "SIGHTLINE_WORKER_FRAMES", default_value_t = 256, value_name = "NUMBER")]
    pub worker_frames: usize,

    /// Bytes of the frames in hand at most, as they came
    #[arg(long, env = "SIGHTLINE_WORKER_BYTES", default_value_t = 64 << 20, value_name = "BYTES")]
    pub worker_bytes: usize,

    /// Pixels of the decoded pictures in hand at most; each takes three bytes, and up to ten while it is decoded
    #[arg(long, env = "SIGHTLINE_WORKER_PIXELS", default_value_t = 50_000_000, value_name = "PIXELS")]
    pub worker_pixels: u64,
}

impl Config {
    /// Whether the settings make sense together.
    ///
    /// # Errors
    /// When one is impossible; the message names it.
    pub fn check(&self) -> anyhow::Result<()> {
        let pace = &self.pace;
        for (key, value) in [
            ("SIGHTLINE_INFERENCE_THREADS", pace.inference_threads.unwrap_or(1)),
            ("SIGHTLINE_SESSION_THREADS", pace.session_threads),
            ("SIGHTLINE_DECODE_THREADS", pace.decode_threads.unwrap_or(1)),
            ("SIGHTLINE_BATCH_SIZE", pace.batch_size.unwrap_or(1)),
            ("SIGHTLINE_WORKER_FRAMES", pace.worker_frames),
            ("SIGHTLINE_WORKER_BYTES", pace.worker_bytes),
        ] {
            anyhow::ensure!(value > 0, "{key}: must be at least 1");
        }
        anyhow::ensure!(pace.worker_pixels > 0, "SIGHTLINE_WORKER_PIXELS: must be at least 1");
        Ok(())
    }

    /// The folder for notes that survive the process.
    pub fn state_dir(&self) -> PathBuf {
        self.worker_state_dir.clone().unwrap_or_else(|| std::env::temp_dir().join("sightline-detector-worker"))
    }

    /// How sessions are made.
    pub fn runtime(&self) -> RuntimeOptions {
        RuntimeOptions {
            dylib: self.models.ort_dylib_path.clone(),
            models_dir: self.models.dir(),
            provider: self.models.execution_provider,
            device: self.models.gpu_device,
            session_threads: self.pace.session_threads,
            batch_size: self.pace.batch_size,
            allow_noncommercial: self.models.allow_noncommercial,
        }
    }
}

impl ModelArgs {
    /// The folder of the model files.
    pub fn dir(&self) -> PathBuf {
        let cache = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
        let usual = || cache().or_else(home).unwrap_or_else(std::env::temp_dir).join("sightline/models");
        self.models_dir.clone().unwrap_or_else(usual)
    }

    /// The models there are.
    ///
    /// # Errors
    /// The operator's own file cannot be read or makes no sense.
    pub fn registry(&self) -> Result<Registry, OpenError> {
        match &self.models_file {
            Some(file) => Registry::from_file(file),
            None => Registry::built_in(),
        }
    }
}

impl PaceArgs {
    /// Sessions of each detector.
    pub fn inference_threads(&self, provider: ExecutionProvider) -> usize {
        let usual = if provider == ExecutionProvider::Cpu { cores() } else { 1 };
        self.inference_threads.unwrap_or(usual)
    }

    /// Pictures decoded at once.
    pub fn decode_threads(&self) -> usize {
        self.decode_threads.unwrap_or_else(cores)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A time such as `12h` or `7d`; a day has 24 hours.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time like 90s, 15m, 24h or 7d");
    let span: Span = text.parse().map_err(|_| wrong())?;
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(exact).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        config: Config,
    }

    fn read(arguments: &[&str]) -> Result<Config, String> {
        let program = Program::try_parse_from([&["program"], arguments].concat()).map_err(|error| error.to_string())?;
        program.config.check().map_err(|error| error.to_string())?;
        Ok(program.config)
    }

    #[test]
    fn pictures_are_kept_for_a_week_unless_it_is_said_otherwise() {
        let usual = read(&[]).unwrap();
        assert_eq!((usual.keep_pictures, usual.picture_retention), (true, Duration::from_secs(7 * 86_400)));
        let other = read(&["--keep-pictures", "false", "--picture-retention", "36h"]).unwrap();
        assert_eq!((other.keep_pictures, other.picture_retention), (false, Duration::from_secs(36 * 3_600)));
    }

    #[test]
    fn impossible_values_are_refused_by_name() {
        for (flag, value, named) in [
            ("--picture-retention", "soon", "soon"),
            ("--batch-size", "0", "SIGHTLINE_BATCH_SIZE"),
            ("--worker-pixels", "0", "SIGHTLINE_WORKER_PIXELS"),
            ("--execution-provider", "abacus", "abacus"),
        ] {
            let error = read(&[flag, value]).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
