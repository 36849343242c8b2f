//! How a job of the providers ends.

use contracts::{CategorySlug, TranscriptFlag, TranscriptSegment};
use jiff::Timestamp;
use media::Cause;
use store::relational::{NewCheckpoint, WindowResult};

use super::text_gate::TextFault;

/// How a job ends.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It is done.
    Done(T),
    /// Nobody can do it now: providers cool, are off, or have no budget. Nothing was lost.
    Wait {
        /// When to try again.
        until: Timestamp,
        /// Why, and what to do.
        cause: Cause,
    },
    /// Nobody will ever do it as it is.
    Failed {
        /// Why, and what to do.
        cause: Cause,
    },
}

/// The words of a window.
#[derive(Debug)]
pub struct WindowAnswer {
    /// The key of its checkpoint.
    pub key: [u8; 32],
    /// Who heard them.
    pub provider: String,
    /// With which model.
    pub model: String,
    /// Why the text is doubtful, and was kept all the same.
    pub flag: Option<TranscriptFlag>,
    /// The words, with times from the start of the window.
    pub segments: Vec<TranscriptSegment>,
    /// What is to be stored with the result; `None` if it came from there.
    pub checkpoint: Option<NewCheckpoint>,
}

impl WindowAnswer {
    /// What finishes the window.
    pub fn result(&self) -> WindowResult<'_> {
        WindowResult {
            key: self.key,
            provider: &self.provider,
            model: &self.model,
            flag: self.flag.map(TranscriptFlag::as_str),
            checkpoint: self.checkpoint.as_ref(),
        }
    }
}

/// What is said about a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The description; `None` if there is too little text, or no usable answer.
    pub text: Option<String>,
    /// Who wrote it: `ai` or `extract`.
    pub source: &'static str,
    /// Categories out of the accepted ones that the model chose, the best one first.
    pub categories: Vec<CategorySlug>,
    /// The label of a new category that the model proposes.
    pub proposed: Option<String>,
    /// The provider.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// What is wrong with it, if all attempts of all providers were doubtful.
    pub flag: Option<TextFault>,
}
