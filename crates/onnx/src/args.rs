//! Settings of the library and of the hardware that it uses. A process has one value of each.

use std::path::PathBuf;

use clap::Args;

use crate::runtime::{ExecutionProvider, SessionOptions};

/// The ONNX Runtime library and the execution provider.
#[derive(Debug, Clone, Args)]
pub struct OnnxArgs {
    /// Library of ONNX Runtime; searched next to the program and in the user's cache when not set
    #[arg(long, env = "SIGHTLINE_ORT_DYLIB_PATH", value_name = "PATH")]
    pub ort_dylib_path: Option<PathBuf>,

    /// Hardware that inference runs on
    #[arg(long, env = "SIGHTLINE_EXECUTION_PROVIDER", default_value = "cpu", value_enum, value_name = "PROVIDER")]
    pub execution_provider: ExecutionProvider,

    /// Index of the GPU, from 0
    #[arg(long, env = "SIGHTLINE_GPU_DEVICE", default_value_t = 0, value_name = "NUMBER")]
    pub gpu_device: i32,
}

impl OnnxArgs {
    /// Options of sessions with this many threads, for models in this folder.
    pub fn options(&self, models_dir: PathBuf, session_threads: usize) -> SessionOptions {
        SessionOptions {
            dylib: self.ort_dylib_path.clone(),
            models_dir,
            provider: self.execution_provider,
            device: self.gpu_device,
            session_threads,
        }
    }
}
