//! Why a text has no embedding.

use std::path::PathBuf;

use models::ModelError;
use onnx::RuntimeError;

use crate::handle::MAX_TEXTS;

/// Why a text has no embedding. Messages about files name the remedy.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The model's files are missing or wrong, or its licence needs a setting.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// ONNX Runtime does not start, does not load the model, or did not run it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The vocabulary cannot be read.
    #[error("SIGHTLINE_MODELS_DIR: {} is not a vocabulary of WordPiece: {cause}", path.display())]
    Vocabulary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// Too many calls wait.
    #[error("too many texts wait for their embeddings: try again later")]
    Busy,
    /// One call has too many texts.
    #[error("a call embeds at most {MAX_TEXTS} texts, not {0}")]
    TooMany(usize),
    /// The thread that embeds ended.
    #[error("embedding failed: {0}")]
    Stopped(String),
}
