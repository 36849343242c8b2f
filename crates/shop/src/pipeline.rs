//! The work on recordings by the audio pipeline, where there is one: it begins with a new file, and makes the book ready at its end.

use contracts::{AssetKind, BookId, PipelineState};
use media::{MediaError, explain};

use crate::{Book, Shop, ShopError, Viewer};

impl Shop {
    /// The hash of the file that a book has.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recording_hash(&self, book: BookId) -> Result<Option<[u8; 32]>, ShopError> {
        let master = self.database().asset(book, AssetKind::Master).await?;
        Ok(master.map(|master| master.sha256))
    }

    /// A book that the viewer may hear as a whole: it has bought it, or is an admin.
    ///
    /// # Errors
    /// `NotBought`; `NotFound` for a book that the viewer does not see.
    pub async fn heard(&self, viewer: &Viewer, id: BookId) -> Result<Book, ShopError> {
        let book = self.book(viewer, id).await?;
        if !book.owned && !viewer.admin {
            return Err(ShopError::NotBought);
        }
        Ok(book)
    }

    /// Begins the work on the file of a book, if it has one and the work has not begun. With another file than before it begins again.
    pub(crate) async fn begin_pipeline(&self, book: BookId) -> Result<(), ShopError> {
        let Some(pipelines) = self.pipelines() else { return Ok(()) };
        let Some(source) = self.recording_hash(book).await? else { return Ok(()) };
        if self.database().pipeline(book).await?.is_some_and(|known| known.source == Some(source)) {
            // What has failed is resumed by an admin, and not by a repeat of the upload's end.
            return Ok(());
        }
        pipelines.start(book, Some(source), None).await?;
        Ok(())
    }

    /// Whether the audio pipeline has something left to do before the book can be ready. One that has failed is an admin's: the book waits.
    pub(crate) async fn is_in_pipeline(&self, book: BookId) -> Result<bool, ShopError> {
        if self.pipelines().is_none() {
            return Ok(false);
        }
        let known = self.database().pipeline(book).await?;
        Ok(known.is_some_and(|known| known.state != PipelineState::Done))
    }

    /// Why the work on a book has failed, if it has.
    pub(crate) async fn pipeline_failure(&self, book: BookId) -> Result<Option<ShopError>, ShopError> {
        if self.pipelines().is_none() {
            return Ok(None);
        }
        let known = self.database().pipeline(book).await?;
        let failed = known.filter(|known| known.state == PipelineState::Failed);
        Ok(failed.map(|failed| {
            let code = failed.cause.as_deref().unwrap_or(media::codes::INTERNAL);
            let cause = explain(code, failed.detail.as_deref());
            ShopError::PipelineFailed { message: cause.message, action: cause.action }
        }))
    }
}

impl From<MediaError> for ShopError {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError::Store(error) => error.into(),
            MediaError::UnknownBook => crate::catalogue::NO_BOOK,
            MediaError::Changed => Self::VersionConflict,
            MediaError::NotReached { from, at } => Self::StepNotReached { from: from.as_str(), at: at.as_str() },
            MediaError::Damaged(cause) => Self::Internal(cause),
        }
    }
}
