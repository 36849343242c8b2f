//! Windows as the database stores them.

use contracts::{BookId, MediaStep, MediaTask};
use jiff::Timestamp;

use super::{NewCheckpoint, book, hash, large, small};
use crate::StoreError;
use crate::relational::values::{Row, unreadable};

/// Maximum number of windows of a book: those of 24 hours of short calls with silence between them.
pub const MAX_WINDOWS: usize = 50_000;

/// State of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowState {
    /// It is to be published.
    Due,
    /// Its task is published.
    Queued,
    /// A worker has taken it.
    Running,
    /// Its text is there.
    Done,
    /// It goes on after an admin has resumed the book.
    Failed,
}

impl WindowState {
    const ALL: [Self; 5] = [Self::Due, Self::Queued, Self::Running, Self::Done, Self::Failed];

    /// The name in the database and in the public API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A part of a recording that is transcribed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRecord {
    /// The book.
    pub book: BookId,
    /// The generation of the pipeline.
    pub generation: u32,
    /// Its number, from 0.
    pub n: u32,
    /// Its start in the recording.
    pub start_ms: u64,
    /// Its end.
    pub end_ms: u64,
    /// Its state.
    pub state: WindowState,
    /// How often a worker took it. Only the last one may report.
    pub taken: u32,
    /// How often a worker ended with it.
    pub crashes: u32,
    /// The key of its text.
    pub key: Option<[u8; 32]>,
    /// The provider that made it.
    pub provider: Option<String>,
    /// The provider's model.
    pub model: Option<String>,
    /// Why the text is doubtful.
    pub flag: Option<String>,
    /// The code of why it waits or has failed.
    pub cause: Option<String>,
    /// What that is about.
    pub detail: Option<String>,
    /// When its task is published next.
    pub wake_at: Option<Timestamp>,
}

/// What came out of a window.
#[derive(Debug, Clone, Copy)]
pub struct WindowResult<'a> {
    /// The key of its text.
    pub key: [u8; 32],
    /// The provider that made it.
    pub provider: &'a str,
    /// The provider's model.
    pub model: &'a str,
    /// Why the text is doubtful.
    pub flag: Option<&'a str>,
    /// The text; `None` if the key has it already.
    pub checkpoint: Option<&'a NewCheckpoint>,
}

/// The columns of a window in every statement that reads one.
macro_rules! window_columns {
    () => {
        "book_id, generation, number, start_ms, end_ms, state, taken, crashes, checkpoint_key, provider, model, flag, cause, \
         detail, wake_at"
    };
}
pub(super) use window_columns;

impl WindowRecord {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let state: String = row.get("state")?;
        let state = WindowState::ALL.into_iter().find(|known| known.as_str() == state);
        Ok(Self {
            book: book(row)?,
            generation: small(row, "generation")?,
            n: small(row, "number")?,
            start_ms: large(row, "start_ms")?,
            end_ms: large(row, "end_ms")?,
            state: state.ok_or_else(|| unreadable("state of a window", &"it is not known"))?,
            taken: small(row, "taken")?,
            crashes: small(row, "crashes")?,
            key: hash(row, "checkpoint_key")?,
            provider: row.get("provider")?,
            model: row.get("model")?,
            flag: row.get("flag")?,
            cause: row.get("cause")?,
            detail: row.get("detail")?,
            wake_at: row.get("wake_at")?,
        })
    }

    /// Its task.
    pub const fn task(&self) -> MediaTask {
        let Self { book, generation, n, .. } = self;
        MediaTask { book: *book, generation: *generation, step: MediaStep::Transcribe, window: Some(*n) }
    }
}
