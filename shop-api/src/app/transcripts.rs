//! Transcripts, for those who have bought the book.

use std::sync::Arc;

use api_kit::error::{ApiError, ServiceError};
use contracts::{BookId, Transcript, TranscriptFormat};
use shop::ShopError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::App;
use crate::Viewer;
use crate::error::{media_refused, refused};

/// Transcripts that clients have not read to their end, in KiB: one of two days with the time of each word has some 30 MiB.
pub(super) const UNREAD_KIB: usize = 256 << 10;

/// A transcript as a file.
#[derive(Debug)]
pub struct TranscriptFile {
    /// Its form.
    pub format: TranscriptFormat,
    /// The name under which it is saved.
    pub name: String,
    /// Its text.
    pub content: String,
    /// Its share of the memory for transcripts, to be held until the client has read it.
    pub unread: OwnedSemaphorePermit,
}

impl App {
    /// The transcript of a book in one of its forms.
    ///
    /// # Errors
    /// When the viewer has not bought the book, there is no transcript yet, the pipeline is off, or clients read too slowly what they asked for.
    pub async fn transcript(
        &self,
        viewer: &Viewer,
        id: BookId,
        format: TranscriptFormat,
    ) -> Result<TranscriptFile, ApiError> {
        let pipeline = self.pipeline("transcript")?;
        let book = self.shop.heard(&viewer.shop(), id).await.map_err(refused)?;
        let permit = pipeline.renders.clone().acquire_owned().await.map_err(|_| ServiceError::Busy)?;
        let segments = pipeline.pipelines.transcript(id).await.map_err(media_refused)?;
        let segments = segments.ok_or_else(|| refused(ShopError::NoTranscript))?;
        let duration =
            book.record.duration.map_or(0, |duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        let (language, name) = (book.record.language, format!("{}.{}", book.record.title, format.extension()));
        // Of a long book this takes some hundred milliseconds.
        let rendering = tokio::task::spawn_blocking(move || {
            let content = Transcript::new(language, duration, segments).render(format);
            drop(permit);
            content
        });
        let content = rendering.await.map_err(|error| ServiceError::Internal(error.into()))?;
        let unread = share(&pipeline.unread, content.len())?;
        Ok(TranscriptFile { format, name, content, unread })
    }
}

/// A share of the memory for transcripts. A client that reads slowly holds its own, so this does not wait for another's.
fn share(unread: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let kib = u32::try_from((bytes / 1024 + 1).min(UNREAD_KIB)).unwrap_or(u32::MAX);
    Ok(Arc::clone(unread).try_acquire_many_owned(kib).map_err(|_| ServiceError::Busy)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcripts_that_nobody_reads_are_bounded() {
        let unread = Arc::new(Semaphore::new(UNREAD_KIB));
        let held: Vec<_> = (0..8).map(|_| share(&unread, 30 << 20).map_err(|error| error.code())).collect();
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(share(&unread, 30 << 20).map(drop).map_err(|error| error.code()), Err("busy"));
        drop(held);
        assert!(share(&unread, usize::MAX).is_ok(), "one of any size is sent");
    }
}
