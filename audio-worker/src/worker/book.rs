//! The book of a task, and its file.

use std::sync::Arc;

use contracts::{AssetKind, BookId, BookStatus};
use media::{Cause, MediaError, codes};
use sound::SoundError;
use store::relational::{AssetRecord, BookRecord};
use tokio_util::sync::CancellationToken;

use super::steps::Steps;
use crate::object::Object;
use crate::speech::SpeechError;
use crate::speech::recording::RecordingError;

/// Why a recording is not read.
pub(super) enum Unreadable {
    /// Its file can be read later.
    Later(Cause),
    /// It is as it is.
    Never(Cause),
}

impl Steps {
    /// A book with its master, if that is the file that the work is about.
    pub(super) async fn master(
        &self,
        id: BookId,
        source: Option<[u8; 32]>,
    ) -> Result<Result<(BookRecord, AssetRecord), Unreadable>, MediaError> {
        let database = self.pipelines.database();
        let Some(book) = database.book(id).await?.filter(|book| book.status != BookStatus::Deleted) else {
            return Ok(Err(Unreadable::Never(Cause::new(codes::BOOK_DELETED, ""))));
        };
        Ok(match database.asset(id, AssetKind::Master).await? {
            Some(master) if Some(master.sha256) == source => Ok((book, master)),
            // The work on the new one is about to begin.
            Some(_) => Err(Unreadable::Later(Cause::new(codes::FILE_UNREADABLE, "it was replaced"))),
            None => Err(Unreadable::Never(Cause::new(codes::NO_FILE, ""))),
        })
    }

    /// The file of a book, which is read until `cancelled`.
    pub(super) fn object(&self, master: &AssetRecord, cancelled: CancellationToken) -> Object {
        Object::new(Arc::clone(&self.media), master.key, master.bytes, cancelled)
    }
}

impl From<SoundError> for Unreadable {
    fn from(error: SoundError) -> Self {
        match error.refusal() {
            Some(refusal) => Self::Never(Cause::new(refusal.code(), "")),
            None => Self::Later(Cause::new(codes::FILE_UNREADABLE, error.to_string())),
        }
    }
}

impl From<SpeechError> for Unreadable {
    fn from(error: SpeechError) -> Self {
        let code = match &error {
            SpeechError::Model(_) => codes::MODEL_MISSING,
            SpeechError::Failed(_) => codes::INTERNAL,
            SpeechError::Cpu(_)
            | SpeechError::Runtime(_)
            | SpeechError::UnknownModel { .. }
            | SpeechError::UnknownLanguage(_)
            | SpeechError::OnlyEnglish { .. } => codes::SPEECH_UNAVAILABLE,
        };
        Self::Never(Cause::new(code, error.to_string()))
    }
}

impl From<RecordingError> for Unreadable {
    fn from(error: RecordingError) -> Self {
        match error {
            RecordingError::Sound(error) => error.into(),
            RecordingError::Speech(error) => error.into(),
            RecordingError::Cancelled => Self::Later(super::steps::stopped()),
        }
    }
}
