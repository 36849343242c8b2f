//! Options of the detectors of a process: ONNX Runtime's, and those of models and batches.

use std::path::PathBuf;

pub(crate) use onnx::Runtime;
use onnx::SessionOptions;
pub use onnx::{ExecutionProvider, RuntimeError};

/// Options of the library, its sessions and the detectors. All detectors of a process share one value.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// The ONNX Runtime library; `None` searches next to the executable and then in the cache.
    pub dylib: Option<PathBuf>,
    /// Folder of the model files.
    pub models_dir: PathBuf,
    /// The execution provider.
    pub provider: ExecutionProvider,
    /// Index of the GPU, from 0.
    pub device: i32,
    /// Threads inside one session. See `docs/decisions/inference-threads.md` for the default of 1 with several sessions.
    pub session_threads: usize,
    /// Images per run of a network; `None` for `gpu_batch` of `models.yaml` on a GPU and 1 on a CPU.
    pub batch_size: Option<usize>,
    /// Whether models whose licence forbids commercial use are allowed.
    pub allow_noncommercial: bool,
}

impl RuntimeOptions {
    /// Options for a CPU, with the library in its default places.
    pub fn cpu(models_dir: impl Into<PathBuf>) -> Self {
        let SessionOptions { dylib, models_dir, provider, device, session_threads } = SessionOptions::cpu(models_dir);
        Self { dylib, models_dir, provider, device, session_threads, batch_size: None, allow_noncommercial: false }
    }

    /// Those of the library and of a session.
    pub(crate) fn session(&self) -> SessionOptions {
        SessionOptions {
            dylib: self.dylib.clone(),
            models_dir: self.models_dir.clone(),
            provider: self.provider,
            device: self.device,
            session_threads: self.session_threads,
        }
    }
}
