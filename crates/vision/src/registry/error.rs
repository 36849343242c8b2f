//! Why a detector cannot be opened.

use std::path::PathBuf;

use contracts::DetectorName;
use models::ModelError;

use crate::runtime::RuntimeError;

/// Why a detector cannot be opened. Each message names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The document is invalid, a file is not the right one, or the licence needs a setting.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No such detector.
    #[error("SIGHTLINE_DETECTORS: there is no detector `{name}`, only {known}")]
    UnknownDetector {
        /// The requested detector.
        name: DetectorName,
        /// The known detectors, comma-separated.
        known: String,
    },
    /// None of the detector's model files is in the folder.
    #[error(
        "SIGHTLINE_MODELS_DIR: {} has no model for the detector `{detector}` ({files}): run `sightline models pull \
         --detectors {detector} --models-dir {}`",
        dir.display(),
        dir.display()
    )]
    NoModel {
        /// The detector.
        detector: DetectorName,
        /// The files of its models.
        files: String,
        /// The folder.
        dir: PathBuf,
    },
    /// None of the detector's embedding models is in the folder.
    #[error(
        "SIGHTLINE_MODELS_DIR: {} has no embedding model for the detector `{detector}` ({models}): run `sightline models \
         pull NAME`",
        dir.display()
    )]
    NoEmbeddingModel {
        /// The detector.
        detector: DetectorName,
        /// Names and files of its embedding models.
        models: String,
        /// The folder.
        dir: PathBuf,
    },
    /// The named embedding model is not one of the detector's, or its file is not in the folder.
    #[error(
        "the detector `{detector}` has no embedding model `{model}`, or its file is not in SIGHTLINE_MODELS_DIR ({}): \
         `sightline models list` names all, and `sightline models pull NAME` fetches one",
        dir.display()
    )]
    NoSuchEmbeddingModel {
        /// The detector.
        detector: DetectorName,
        /// The name.
        model: String,
        /// The folder.
        dir: PathBuf,
    },
    /// The entry of the model cannot be used.
    #[error("models.yaml: the model `{model}` cannot be used: {cause}")]
    UnusableEntry {
        /// The model.
        model: String,
        /// What is wrong.
        cause: String,
    },
    /// ONNX Runtime does not start or does not load the model.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}
