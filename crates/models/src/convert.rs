//! Converts a fetched file into the format of the engine that runs it.
//!
//! Whisper's weights are published in packages as CTranslate2 writes them, and whisper.cpp reads ggml. Both hold the same half-precision
//! numbers, so no weight is rounded: matrices are copied, and biases, norms and positions become 32-bit numbers. The result is the same on
//! every machine, so that `models.yaml` can name its hash.

mod ct2;
mod ggml;
mod mel;
mod vocabulary;
mod whisper;

use serde::Deserialize;

use crate::hash::is_sha256;
use crate::source::Source;

/// A conversion of the fetched file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convert {
    /// From which format to which.
    pub kind: ConvertKind,
    /// SHA-256 of the fetched file, in lower-case hexadecimal.
    pub sha256_before: String,
    /// The vocabulary, which becomes part of the file.
    pub vocabulary: AuxiliaryFile,
}

/// From which format to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum ConvertKind {
    /// A Whisper model of CTranslate2 into one of whisper.cpp.
    #[serde(rename = "ct2-to-ggml")]
    Ct2ToGgml,
}

/// A further file that a conversion needs and that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuxiliaryFile {
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// Where it comes from, in the order of the attempts.
    pub sources: Vec<Source>,
}

impl Convert {
    /// The converted file.
    ///
    /// # Errors
    /// The bytes are not a model of this kind, or the vocabulary is not one.
    pub fn apply(&self, model: &[u8], vocabulary: &[u8]) -> Result<Vec<u8>, String> {
        match self.kind {
            ConvertKind::Ct2ToGgml => whisper::to_ggml(model, vocabulary),
        }
    }

    /// Checks the values of the entry.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !is_sha256(&self.sha256_before) || !is_sha256(&self.vocabulary.sha256) {
            return Err("convert needs the sha256 of the file before and of its vocabulary".to_owned());
        }
        self.vocabulary.sources.iter().try_for_each(Source::check)
    }
}

/// As [`Convert::apply`], for the fuzz target.
#[cfg(any(test, fuzzing))]
pub(crate) fn whisper_to_ggml(model: &[u8], vocabulary: &[u8]) -> Result<Vec<u8>, String> {
    whisper::to_ggml(model, vocabulary)
}
