//! Uploads of recordings, and what follows them.

use std::time::Duration;

use api_kit::error::ApiError;
use bytes::Bytes;
use contracts::api::{BookView, DownloadView, NewBookBody, UploadLinkView};
use contracts::{BookId, BookStatus, MediaStep};
use futures::Stream;

use super::App;
use super::pipeline::Resume;
use crate::Viewer;
use crate::error::refused;
use crate::files::{MediaUrl, UploadHeaderFacts, UploadLink};

/// A book to add, and its file.
#[derive(Debug)]
pub struct NewUpload {
    /// The book.
    pub book: NewBookBody,
    /// The name of its file.
    pub file_name: String,
    /// The media type of its file.
    pub content_type: String,
}

/// What a completed upload is made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForcedStatus {
    /// The upload is checked, and the book becomes ready: as without a status.
    Audio,
    /// The transcript is made again.
    Transcript,
    /// The description is made again.
    Summary,
    /// This status.
    Status(BookStatus),
}

impl App {
    /// A draft with a link to which its recording is uploaded.
    ///
    /// # Errors
    /// When a value is invalid.
    pub async fn create_upload(&self, viewer: &Viewer, upload: NewUpload) -> Result<UploadLinkView, ApiError> {
        let link = self.files.create_upload(viewer, header(upload)).await?;
        Ok(link_view(link))
    }

    /// A further link to the upload of a book; a new upload, if none is open.
    ///
    /// # Errors
    /// When there is no such book.
    pub async fn upload_link(&self, viewer: &Viewer, book: BookId) -> Result<UploadLinkView, ApiError> {
        Ok(link_view(self.files.upload_link(viewer, book).await?))
    }

    /// A draft, its recording, and the work that follows, in one call.
    ///
    /// # Errors
    /// When a value or the recording is refused, or the stream breaks off.
    pub async fn upload(
        &self,
        viewer: &Viewer,
        upload: NewUpload,
        chunks: impl Stream<Item = Result<Bytes, ApiError>> + Send + Unpin + 'static,
        wait: Duration,
    ) -> Result<BookView, ApiError> {
        let book = self.files.upload_stream(viewer, header(upload), chunks, wait).await?;
        Ok(self.book_view(book, true))
    }

    /// Ends the upload of a book and waits until the book is ready, at most for `wait`; the work goes on regardless. Again: the same. `group` is
    /// that of the providers from now on; empty: as configured.
    ///
    /// # Errors
    /// When the upload is not complete, the recording is refused, or the work on it fails.
    pub async fn complete_upload(
        &self,
        viewer: &Viewer,
        book: BookId,
        forced: ForcedStatus,
        group: Option<String>,
        wait: Duration,
    ) -> Result<BookView, ApiError> {
        let from = match forced {
            ForcedStatus::Audio if !self.has_pipeline() => {
                let book = self.files.complete(book, wait).await?;
                return Ok(self.book_view(book, true));
            }
            ForcedStatus::Status(status) => {
                let book = self.shop.force_status(book, status, &viewer.actor()).await.map_err(refused)?;
                return Ok(self.book_view(book, true));
            }
            ForcedStatus::Audio => None,
            ForcedStatus::Transcript => Some(MediaStep::Transcribe),
            ForcedStatus::Summary => Some(MediaStep::Summarise),
        };
        self.resume(viewer, book, Resume { from, group, budget_micro: None }, wait).await
    }

    /// A link to the recording, for its buyers and for admins.
    ///
    /// # Errors
    /// When the caller has not bought the book.
    pub async fn download(&self, viewer: &Viewer, book: BookId) -> Result<DownloadView, ApiError> {
        let MediaUrl { url, expires_at } = self.files.download_link(viewer, book).await?;
        Ok(DownloadView { download_url: url, expires_at })
    }
}

fn header(NewUpload { book, file_name, content_type }: NewUpload) -> UploadHeaderFacts {
    UploadHeaderFacts { book: super::admin::new_book(book), file_name, content_type, length: None }
}

fn link_view(UploadLink { book, url, max_bytes, expires_at }: UploadLink) -> UploadLinkView {
    UploadLinkView { book, upload_url: url, max_bytes, expires_at }
}
