//! Transcripts, for those who have bought the book.

use api_kit::error::{ApiError, ServiceError};
use contracts::{BookId, Transcript, TranscriptFormat};
use shop::ShopError;

use super::App;
use super::pipeline::media_refused;
use crate::Viewer;
use crate::error::refused;

/// A transcript as a file.
#[derive(Debug)]
pub struct TranscriptFile {
    /// Its form.
    pub format: TranscriptFormat,
    /// The name under which it is saved.
    pub name: String,
    /// Its text.
    pub content: String,
}

impl App {
    /// The transcript of a book in one of its forms.
    ///
    /// # Errors
    /// When the viewer has not bought the book, there is no transcript yet, or the pipeline is off.
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
        Ok(TranscriptFile { format, name, content })
    }
}
