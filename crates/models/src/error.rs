//! Why a model cannot be used.

use std::path::PathBuf;

/// Why a model cannot be used. Each message names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The models document is invalid.
    #[error("{file}: {cause}")]
    Document {
        /// The setting and the file, or `models.yaml` for the built-in one.
        file: String,
        /// What is invalid.
        cause: String,
    },
    /// No such model.
    #[error("there is no model `{name}` of kind {kind}, only {known}: `sightline models list` names all models")]
    UnknownModel {
        /// The requested model.
        name: String,
        /// The kind that is needed.
        kind: String,
        /// The known models of this kind, comma-separated.
        known: String,
    },
    /// A file of the model is not in the folder.
    #[error(
        "SIGHTLINE_MODELS_DIR: {} has no model {model}: run `sightline models pull {name} --models-dir {}`",
        dir.display(),
        dir.display()
    )]
    NotInFolder {
        /// The model.
        name: String,
        /// The model with its file.
        model: String,
        /// The folder.
        dir: PathBuf,
    },
    /// The file's hash differs from the one in models.yaml.
    #[error(
        "SIGHTLINE_MODELS_DIR: {} is not the file models.yaml names (sha256 {found} instead of {expected}): delete it and \
         run `sightline models pull MODEL`; `sightline models list` names the model of each file",
        path.display()
    )]
    WrongModel {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash of the entry.
        expected: String,
    },
    /// The file cannot be read.
    #[error("SIGHTLINE_MODELS_DIR: cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The licence forbids commercial use, and SIGHTLINE_ALLOW_NONCOMMERCIAL is not set.
    #[error(
        "the licence of the model `{model}` ({licence}) forbids commercial use: set SIGHTLINE_ALLOW_NONCOMMERCIAL=true if \
         your use is not commercial"
    )]
    Licence {
        /// The model.
        model: String,
        /// Its licence.
        licence: String,
    },
}
