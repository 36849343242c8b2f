//! Why speech is not transcribed.

use models::ModelError;
use onnx::RuntimeError;

use super::cpu::CpuError;

/// Why the engine does not transcribe. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// The processor cannot run it.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// A model's file is missing or damaged.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Another model than the two of the settings is asked for.
    #[error("there is no model {name:?} here: use {known}, or leave the model out")]
    UnknownModel {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Whisper does not know the language.
    #[error("the language {0:?} is unknown: use a code of ISO 639-1 such as en, or leave it out")]
    UnknownLanguage(String),
    /// The model knows only English.
    #[error(
        "the model {model} knows only English, and the language is {language}: run `sightline models pull {other}`, which knows others"
    )]
    OnlyEnglish {
        /// The model.
        model: String,
        /// The code of the language.
        language: String,
        /// The model for other languages.
        other: String,
    },
    /// ONNX Runtime, which finds speech, does not start.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The engine failed.
    #[error("Whisper failed: {0}")]
    Failed(String),
}

impl SpeechError {
    /// Whether the same input fails in the same way on this machine.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}
