//! Settings of models and of the threads that use them. A process has one value of each, whichever services it runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use contracts::DetectorName;
use models::FolderArgs;
use onnx::OnnxArgs;
use settings::{count, milliseconds};

use crate::inference::{DetectorSpec, InferenceSettings, RELEASE_AFTER};
use crate::registry::{OpenError, Registry};
use crate::runtime::{ExecutionProvider, RuntimeOptions};

/// Models and execution provider.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// The models folder.
    #[command(flatten)]
    pub folder: FolderArgs,
    /// The library and the hardware.
    #[command(flatten)]
    pub onnx: OnnxArgs,
}

/// Threads that decode images and run models, and the images that they process together.
#[derive(Debug, Clone, Args)]
pub struct InferenceArgs {
    /// Number of inference sessions per detector, which infer in parallel; one per core on a CPU and one on a GPU when not set
    #[arg(long, env = "SIGHTLINE_INFERENCE_THREADS", value_name = "NUMBER",
        value_parser = count::<usize>(1..=4096))]
    pub inference_threads: Option<usize>,

    /// Number of threads of each inference session
    #[arg(long, env = "SIGHTLINE_SESSION_THREADS", default_value_t = 1, value_name = "NUMBER",
        value_parser = count::<usize>(1..=4096))]
    pub session_threads: usize,

    /// Maximum number of images decoded concurrently; one per core when not set
    #[arg(long, env = "SIGHTLINE_DECODE_THREADS", value_name = "NUMBER",
        value_parser = count::<usize>(1..=4096))]
    pub decode_threads: Option<usize>,

    /// Images per call of a detector; the best number for the model and the provider when not set
    #[arg(long, env = "SIGHTLINE_BATCH_SIZE", value_name = "NUMBER",
        value_parser = count::<usize>(1..=4096))]
    pub batch_size: Option<usize>,

    /// Maximum time that the first image of a batch waits for others; a bare number is in milliseconds
    #[arg(long = "batch-wait-ms", env = "SIGHTLINE_BATCH_WAIT_MS", default_value = "5ms", value_name = "DURATION",
        value_parser = milliseconds(0..=60_000))]
    pub batch_wait: Duration,
}

impl ModelArgs {
    /// The folder of the model files.
    pub fn dir(&self) -> PathBuf {
        self.folder.dir()
    }

    /// The models of the operator's file, or the built-in ones.
    ///
    /// # Errors
    /// The operator's file cannot be read or is invalid.
    pub fn registry(&self) -> Result<Registry, OpenError> {
        match &self.folder.models_file {
            Some(file) => Registry::from_file(file),
            None => Registry::built_in(),
        }
    }

    /// Options of ONNX Runtime and its sessions.
    pub fn runtime(&self, inference: &InferenceArgs) -> RuntimeOptions {
        RuntimeOptions {
            dylib: self.onnx.ort_dylib_path.clone(),
            models_dir: self.dir(),
            provider: self.onnx.execution_provider,
            device: self.onnx.gpu_device,
            session_threads: inference.session_threads,
            batch_size: inference.batch_size,
            allow_noncommercial: self.folder.allow_noncommercial,
        }
    }

    /// The named detectors, ready to be opened.
    ///
    /// # Errors
    /// A detector is unknown or none of its model files exists; the message names the setting and the remedy.
    pub fn detectors(&self, names: &[DetectorName], inference: &InferenceArgs) -> Result<Vec<DetectorSpec>, OpenError> {
        let registry = Arc::new(self.registry()?);
        let options = self.runtime(inference);
        let spec = |name: &DetectorName| {
            let model = registry.chosen(name, &options.models_dir)?;
            let description = match model.weights() {
                Some(weights) => format!("{} ({}) on {}", model.name, weights.file, options.provider.setting()),
                None => format!("{}, an engine behind HTTP", model.name),
            };
            let (registry, options, detector) = (registry.clone(), options.clone(), name.clone());
            let open = Arc::new(move || Ok(registry.open(&detector, &options)?));
            Ok(DetectorSpec { name: name.clone(), description, open })
        };
        names.iter().map(spec).collect()
    }

    /// A detector of faces that also makes their embeddings, ready to be opened, and the name of the model that makes them: `model`, or
    /// without one the first of the detector's whose file is in the folder.
    ///
    /// # Errors
    /// As of [`Self::detectors`], and when the model for embeddings is not in the folder.
    pub fn with_embeddings(
        &self,
        detector: &DetectorName,
        model: Option<&str>,
        inference: &InferenceArgs,
    ) -> Result<(DetectorSpec, String), OpenError> {
        let registry = Arc::new(self.registry()?);
        let options = self.runtime(inference);
        let first = registry.chosen(detector, &options.models_dir)?;
        let embedding = match model {
            Some(name) => registry.embedding_model_named(detector, name, &options.models_dir)?,
            None => registry.embedding_model(detector, &options.models_dir)?,
        };
        let embedding = embedding.clone();
        let description = format!("{} and {} on {}", first.name, embedding.name, options.provider.setting());
        let (name, model) = (detector.clone(), embedding.name.clone());
        let open = Arc::new(move || Ok(registry.open_with_embeddings(&name, &embedding, &options)?));
        Ok((DetectorSpec { name: detector.clone(), description, open }, model))
    }

    /// Which of the named detectors work without which crop models, because the files are not there.
    ///
    /// # Errors
    /// The file of models cannot be read or is invalid.
    pub fn missing_crop_models(&self, names: &[DetectorName]) -> Result<Option<String>, OpenError> {
        let (registry, folder) = (self.registry()?, self.dir());
        let missing = names.iter().flat_map(|detector| {
            let models = registry.missing_crop_models(detector, &folder).into_iter();
            models.map(move |model| format!("the detector {detector} works without {}", model.described()))
        });
        let missing: Vec<String> = missing.collect();
        Ok((!missing.is_empty()).then(|| format!("{}; SIGHTLINE_MODELS_DIR: {}", missing.join(", "), folder.display())))
    }
}

/// Maximum number of threads of the only session of a detector. A small model gains little from more of them.
const MAX_THREADS_OF_ONE_SESSION: usize = 4;

impl InferenceArgs {
    /// The same threads, at most four, in one session: an image has its result sooner, and the memory is that
    /// of one session. Fewer images are processed in the same time than by several sessions.
    #[must_use]
    pub fn in_one_session(&self, provider: ExecutionProvider) -> Self {
        let threads = self.inference_threads(provider).saturating_mul(self.session_threads);
        let session_threads = self.session_threads.max(threads.min(MAX_THREADS_OF_ONE_SESSION));
        Self { inference_threads: Some(1), session_threads, ..self.clone() }
    }

    /// How the threads of each detector work.
    pub fn settings(&self, provider: ExecutionProvider) -> InferenceSettings {
        InferenceSettings {
            threads: self.inference_threads(provider),
            batch_size: self.batch_size,
            batch_wait: self.batch_wait,
            release_after: RELEASE_AFTER,
        }
    }

    /// Sessions per detector.
    pub fn inference_threads(&self, provider: ExecutionProvider) -> usize {
        let usual = if provider == ExecutionProvider::Cpu { cores() } else { 1 };
        self.inference_threads.unwrap_or(usual)
    }

    /// Number of images decoded concurrently.
    pub fn decode_threads(&self) -> usize {
        self.decode_threads.unwrap_or_else(cores)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(sessions: Option<usize>, session_threads: usize) -> InferenceArgs {
        let batch_wait = Duration::ZERO;
        InferenceArgs {
            inference_threads: sessions,
            session_threads,
            decode_threads: None,
            batch_size: None,
            batch_wait,
        }
    }

    #[test]
    fn one_session_has_the_threads_of_all_up_to_four() {
        let threads = |sessions, session_threads| {
            let one = args(Some(sessions), session_threads).in_one_session(ExecutionProvider::Cpu);
            (one.inference_threads(ExecutionProvider::Cpu), one.session_threads)
        };
        assert_eq!(threads(1, 1), (1, 1));
        assert_eq!(threads(2, 1), (1, 2));
        assert_eq!(threads(2, 2), (1, 4));
        assert_eq!(threads(64, 1), (1, 4));
        assert_eq!(threads(2, 6), (1, 6), "a setting of the operator stays");
        let gpu = args(None, 1).in_one_session(ExecutionProvider::Cuda);
        assert_eq!(gpu.session_threads, 1, "a GPU has one session, so no further threads");
    }
}
