//! What is shown of a book: how far it is, and its transcript.

use contracts::media::{MediaProgress, ProviderCost};
use contracts::{BookId, PipelineState, TranscriptSegment};
use jiff::Timestamp;
use store::relational::{CallFilter, PipelineRecord};

use super::{ATTEMPTS, Pipelines};
use crate::causes::explain;
use crate::error::MediaError;
use crate::transcript;

/// Windows of which the texts are read at once.
const WINDOWS_AT_ONCE: u32 = 64;

/// Some windows of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TranscriptPage {
    /// What is said in them.
    pub segments: Vec<TranscriptSegment>,
    /// The window at which the next page begins; `None`: this is the last one.
    pub next: Option<u32>,
}

impl Pipelines {
    /// How far a book is; `None` if nothing was begun.
    ///
    /// # Errors
    /// `Store`.
    pub async fn status(&self, book: BookId) -> Result<Option<MediaProgress>, MediaError> {
        match self.database.pipeline(book).await? {
            Some(pipeline) => self.progress(&pipeline).await.map(Some),
            None => Ok(None),
        }
    }

    /// How far a book is, for its event and its page.
    ///
    /// # Errors
    /// `Store`.
    pub async fn progress(&self, pipeline: &PipelineRecord) -> Result<MediaProgress, MediaError> {
        let book = pipeline.book;
        let spent = self.database.spent_on_book(book).await?;
        let filter = CallFilter { book: Some(book), provider: None };
        let last = self.database.provider_calls(&filter, None, 1).await?.into_iter().next();
        let cause = pipeline.cause.as_deref().map(|code| explain(code, pipeline.detail.as_deref()));
        Ok(MediaProgress {
            book,
            generation: pipeline.generation,
            step: pipeline.step,
            state: pipeline.state,
            revision: pipeline.revision,
            windows_done: pipeline.windows_done,
            windows_total: pipeline.windows_total,
            provider: last.map(|call| call.call.provider),
            cost: spent
                .into_iter()
                .map(|spent| ProviderCost { currency: spent.currency, micro: spent.micro })
                .collect(),
            cause,
            resumes_at: self.resumes_at(pipeline).await?,
            at: pipeline.updated_at,
        })
    }

    /// When a book that waits goes on by itself.
    async fn resumes_at(&self, pipeline: &PipelineRecord) -> Result<Option<Timestamp>, MediaError> {
        match (pipeline.state, pipeline.wake_at) {
            (PipelineState::Waiting, None) => {
                let at = self.database.next_window_at(pipeline.book, pipeline.generation).await?;
                // Windows that are due already have a time of the past.
                Ok(at.map(|at| at.max(self.now())))
            }
            (PipelineState::Waiting, at) => Ok(at),
            _ => Ok(None),
        }
    }

    /// The segments of the transcript of a book that is served; `None` without one. For long books read it in pages.
    ///
    /// # Errors
    /// `Damaged` if a text is missing or cannot be read, `Changed` if new ones take its place all the time, `Store`.
    pub async fn transcript(&self, book: BookId) -> Result<Option<Vec<TranscriptSegment>>, MediaError> {
        for _ in 0..ATTEMPTS {
            let Some(generation) = self.served(book).await? else { return Ok(None) };
            let segments = self.segments(book, generation).await;
            // The windows of a transcript are deleted when a new one takes its place, also between two pages.
            if self.served(book).await? == Some(generation) {
                return segments.map(Some);
            }
        }
        Err(MediaError::Changed)
    }

    /// The generation whose windows are the transcript that is served.
    async fn served(&self, book: BookId) -> Result<Option<u32>, MediaError> {
        Ok(self.database.pipeline(book).await?.and_then(|pipeline| pipeline.transcript))
    }

    /// The segments of all windows of a generation.
    async fn segments(&self, book: BookId, generation: u32) -> Result<Vec<TranscriptSegment>, MediaError> {
        let (mut segments, mut next) = (Vec::new(), Some(0));
        while let Some(from) = next {
            let page = self.transcript_page(book, generation, from).await?;
            segments.extend(page.segments);
            next = page.next;
        }
        Ok(segments)
    }

    /// The segments of some windows of a generation, from a window on. Its windows must be done.
    ///
    /// # Errors
    /// `Damaged` if a text is missing or cannot be read, `Store`.
    pub async fn transcript_page(
        &self,
        book: BookId,
        generation: u32,
        from: u32,
    ) -> Result<TranscriptPage, MediaError> {
        let windows = self.database.window_texts(book, generation, from, WINDOWS_AT_ONCE).await?;
        let is_full = u32::try_from(windows.len()).is_ok_and(|count| count == WINDOWS_AT_ONCE);
        let next = windows.last().filter(|_| is_full).map(|(window, _)| window.n.saturating_add(1));
        let mut segments = Vec::new();
        for (window, body) in windows {
            let body = body.ok_or_else(|| MediaError::Damaged(format!("window {} of {book} has no text", window.n)))?;
            segments.extend(transcript::placed(&window, &body)?);
        }
        Ok(TranscriptPage { segments, next })
    }
}
