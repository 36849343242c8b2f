//! ONNX Runtime: the library is found, loaded and checked once per process, and creates the sessions.
//!
//! It is loaded at run time, so one build of the worker serves CPU and GPU machines. If a configured
//! execution provider is not available, the start fails, because a silent fallback to the CPU would
//! be noticed only by its speed.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider as _, ExecutionProviderDispatch};
use ort::logging::LogLevel;
use ort::session::Session;
use platform::{error_chain, user_cache};
use serde::{Deserialize, Serialize};

/// Version in the cache folder and in error messages. The minimum is this minor version.
const ORT_VERSION: &str = "1.31.1";

/// The hardware that inference runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionProvider {
    /// The CPU; needs no further library.
    #[default]
    Cpu,
    /// An NVIDIA GPU through CUDA and cuDNN.
    Cuda,
    /// An NVIDIA GPU through TensorRT, which compiles each network for the installed GPU.
    Tensorrt,
}

/// Options of the library and of a session.
#[derive(Debug, Clone)]
pub struct SessionOptions {
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
}

impl SessionOptions {
    /// Options for a CPU, with the library in its default places and one thread.
    pub fn cpu(models_dir: impl Into<PathBuf>) -> Self {
        Self {
            dylib: None,
            models_dir: models_dir.into(),
            provider: ExecutionProvider::Cpu,
            device: 0,
            session_threads: 1,
        }
    }
}

/// Why the library or a session cannot be created. Each message names the setting and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No library at the configured or default paths.
    #[error(
        "ONNX Runtime not found at {searched}: set SIGHTLINE_ORT_DYLIB_PATH to libonnxruntime.so.{ORT_VERSION} \
         (the PyPI wheel onnxruntime {ORT_VERSION} contains it under onnxruntime/capi/)"
    )]
    Missing {
        /// Every searched path.
        searched: String,
    },
    /// The file is not a shared library for this machine.
    #[error("SIGHTLINE_ORT_DYLIB_PATH: {} is not an ONNX Runtime library for this machine: {cause}", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// The loader's error.
        cause: String,
    },
    /// The version is older than required.
    #[error(
        "SIGHTLINE_ORT_DYLIB_PATH: {} is ONNX Runtime {found}, but at least {ORT_VERSION} is required: install the PyPI wheel \
         onnxruntime {ORT_VERSION} and set the path of the library in it",
        path.display()
    )]
    WrongVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// The library loads but does not start.
    #[error("ONNX Runtime does not start: {0}")]
    Start(#[source] ort::Error),
    /// The library was built without the configured provider.
    #[error(
        "SIGHTLINE_EXECUTION_PROVIDER={setting}, but this ONNX Runtime has no {setting} provider: point \
         SIGHTLINE_ORT_DYLIB_PATH to an onnxruntime-gpu build of {ORT_VERSION} (see docs/GPU.md) or set it to cpu"
    )]
    NoProvider {
        /// Value of the setting for the provider.
        setting: &'static str,
    },
    /// The provider finds no GPU, no driver, or not all of its libraries.
    #[error(
        "SIGHTLINE_EXECUTION_PROVIDER={setting}, but it does not start: {cause}; check the driver with nvidia-smi and the \
         libraries in docs/GPU.md, or set it to cpu"
    )]
    ProviderFailed {
        /// Value of the setting for the provider.
        setting: &'static str,
        /// The provider's error.
        cause: String,
    },
    /// The network did not run, for example for lack of memory. A retry can help.
    #[error("inference failed: {0}")]
    Inference(String),
    /// The model file is damaged or not supported by this version.
    #[error(
        "cannot load the model {}: {cause}: delete it and run `sightline models pull MODEL`; `sightline models list` names the \
         model of each file",
        path.display()
    )]
    Model {
        /// The file.
        path: PathBuf,
        /// The runtime's error.
        cause: String,
    },
}

impl ExecutionProvider {
    /// Its value of `SIGHTLINE_EXECUTION_PROVIDER`.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Tensorrt => "tensorrt",
        }
    }

    fn is_built_in(self) -> Result<bool, ort::Error> {
        match self {
            Self::Cpu => Ok(true),
            Self::Cuda => ep::CUDA::is_available(),
            Self::Tensorrt => ep::TensorRT::is_available(),
        }
    }

    /// The providers of a session, best first. One that is not available is an error.
    fn dispatch(self, options: &SessionOptions) -> Vec<ExecutionProviderDispatch> {
        let cuda = || ep::CUDA::default().with_device_id(options.device).build().error_on_failure();
        match self {
            Self::Cpu => Vec::new(),
            Self::Cuda => vec![cuda()],
            // Compiling a network takes minutes. With the cache next to the models this happens once per machine.
            Self::Tensorrt => vec![
                ep::TensorRT::default()
                    .with_device_id(options.device)
                    .with_engine_cache(true)
                    .with_engine_cache_path(options.models_dir.join("tensorrt").display())
                    .build()
                    .error_on_failure(),
                cuda(),
            ],
        }
    }
}

/// The loaded library. Cheap to clone: a process has one environment, and all clones share it.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
}

impl Runtime {
    /// Loads the library on the first call. Later calls return the same one, whatever path they name.
    ///
    /// # Errors
    /// The library is missing, not for this machine, too old, or lacks the configured provider.
    pub fn load(options: &SessionOptions) -> Result<Self, RuntimeError> {
        static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = match &*loaded {
            Some(runtime) => runtime.clone(),
            None => loaded.insert(Self::start(&find_library(options.dylib.as_deref())?)?).clone(),
        };
        match options.provider.is_built_in() {
            Ok(true) => Ok(runtime),
            Ok(false) => Err(RuntimeError::NoProvider { setting: options.provider.setting() }),
            Err(error) => Err(RuntimeError::Start(error)),
        }
    }

    fn start(library: &Path) -> Result<Self, RuntimeError> {
        let path = library.to_path_buf();
        let builder = ort::init_from(library).map_err(|error| match error {
            ort::LoadDynamicError::BadVersion { version_str, .. } => {
                RuntimeError::WrongVersion { path, found: version_str }
            }
            ort::LoadDynamicError::Dlopen { error, .. } => {
                RuntimeError::NotALibrary { path, cause: error_chain(&error) }
            }
            other => RuntimeError::NotALibrary { path, cause: error_chain(&other) },
        })?;
        let environment = builder.with_name("sightline").with_telemetry(false).build().map_err(RuntimeError::Start)?;
        environment.set_log_level(LogLevel::Error);
        tracing::info!(onnxruntime.path = %library.display(), "loaded ONNX Runtime");
        Ok(Self { environment })
    }

    /// Creates a session for a model file.
    ///
    /// # Errors
    /// The provider does not start, or the file is not a model that this version reads.
    pub fn session(&self, model: &Path, options: &SessionOptions) -> Result<Session, RuntimeError> {
        let setting = options.provider.setting();
        // The hash of the file was checked before, so an error with a GPU provider comes from the GPU.
        let failed = |error: ort::Error| match options.provider {
            ExecutionProvider::Cpu => RuntimeError::Model { path: model.to_path_buf(), cause: error_chain(&error) },
            _ => RuntimeError::ProviderFailed { setting, cause: error_chain(&error) },
        };
        let builder = self.builder(options).map_err(failed)?;
        let mut builder = builder
            .with_execution_providers(options.provider.dispatch(options))
            .map_err(|error| failed(error.into()))?;
        builder.commit_from_file(model).map_err(failed)
    }

    fn builder(&self, options: &SessionOptions) -> ort::Result<ort::session::builder::SessionBuilder> {
        let builder = Session::builder(&self.environment)?
            .with_intra_threads(options.session_threads.max(1))?
            .with_inter_threads(1)?
            // A thread that waits by spinning would use the core of another session.
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            // ONNX Runtime keeps a memory plan for every input shape forever, and images may have any size.
            .with_memory_pattern(false)?;
        Ok(builder)
    }
}

/// The library to load: the configured path, else next to the executable, else in the cache.
fn find_library(setting: Option<&Path>) -> Result<PathBuf, RuntimeError> {
    let candidates = match setting {
        Some(path) => vec![path.to_path_buf()],
        None => default_paths(),
    };
    candidates.iter().find(|path| path.is_file()).cloned().ok_or_else(|| {
        let searched: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        RuntimeError::Missing { searched: searched.join(" or ") }
    })
}

fn default_paths() -> Vec<PathBuf> {
    let name = format!("libonnxruntime.so.{ORT_VERSION}");
    let adjacent = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(&name)));
    let cache = user_cache(|name| std::env::var_os(name))
        .map(|cache| cache.join("sightline").join(format!("onnxruntime-{ORT_VERSION}")).join(&name));
    adjacent.into_iter().chain(cache).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_a_missing_library_names_path_and_setting() {
        let error = find_library(Some(Path::new("/nowhere/libonnxruntime.so"))).unwrap_err().to_string();
        for part in ["/nowhere/libonnxruntime.so", "SIGHTLINE_ORT_DYLIB_PATH", "onnxruntime 1.31.1"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains('\n'));
    }

    #[test]
    fn the_error_for_a_file_that_is_not_a_library_names_the_setting() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "not a library").unwrap();
        let error = Runtime::start(file.path()).unwrap_err();
        assert!(matches!(error, RuntimeError::NotALibrary { .. }), "{error}");
        assert!(error.to_string().starts_with("SIGHTLINE_ORT_DYLIB_PATH: "), "{error}");
    }
}
