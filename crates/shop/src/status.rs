//! The status of a book: publishing, hiding, deleting.
//!
//! ```text
//! draft ─▶ processing ─▶ ready ◀─▶ hidden        any ─▶ deleted (final)
//!   ▲──────────┘ price or title missing, or a file that cannot be read
//! ```

use std::time::Duration;

use accounts::Actor;
use contracts::{AssetKind, BookId, BookStatus};
use store::end_media_upload;
use store::relational::{BookRecord, BookWriteOutcome};

use crate::catalogue::{for_admin, written};
use crate::{Book, Shop, ShopError};

/// Longest wait for the work on a book that is to be ready at once.
const FORCED_WAIT: Duration = Duration::from_secs(30);

/// What a book must have to be sold, besides its preview, which is made from its file.
pub(crate) fn missing(book: &BookRecord) -> Vec<&'static str> {
    let parts = [
        ("title", book.title.is_empty()),
        ("price", book.price.is_none()),
        ("audio file", book.content_type.is_none()),
    ];
    parts.into_iter().filter(|(_, missing)| *missing).map(|(part, _)| part).collect()
}

impl Shop {
    /// Puts a book up for sale, also one that was hidden. Without a preview it is `processing` until that is made; a preview that could not
    /// be made is tried again.
    ///
    /// # Errors
    /// `Incomplete` names what is missing.
    pub async fn publish_book(&self, id: BookId, actor: &Actor) -> Result<Book, ShopError> {
        let book = self.managed(id).await?;
        if book.status == BookStatus::Ready {
            return Ok(for_admin(book));
        }
        let missing = missing(&book);
        if !missing.is_empty() {
            return Err(ShopError::Incomplete(missing));
        }
        let from = [BookStatus::Draft, BookStatus::Processing, BookStatus::Hidden];
        let to = if book.has_preview { BookStatus::Ready } else { BookStatus::Processing };
        let entry = self.entry("book_published", actor, &id.to_string());
        let outcome = self.database().set_book_status(id, &from, to, Some(&entry), self.now()).await?;
        let book = written(outcome)?;
        if to == BookStatus::Processing {
            self.database().set_book_fault(id, None, 0, Some(self.now()), self.now()).await?;
            return self.complete(id, Duration::ZERO).await;
        }
        Ok(for_admin(book))
    }

    /// Takes a book out of the catalogue. Its buyers keep it.
    ///
    /// # Errors
    /// `BookDeleted` for a deleted one.
    pub async fn hide_book(&self, id: BookId, actor: &Actor) -> Result<Book, ShopError> {
        let book = self.managed(id).await?;
        if book.status == BookStatus::Hidden {
            return Ok(for_admin(book));
        }
        let from = [BookStatus::Draft, BookStatus::Processing, BookStatus::Ready];
        let entry = self.entry("book_hidden", actor, &id.to_string());
        let outcome = self.database().set_book_status(id, &from, BookStatus::Hidden, Some(&entry), self.now()).await?;
        match outcome {
            // Another request hid it first.
            BookWriteOutcome::Changed(now) if now.status == BookStatus::Hidden => Ok(for_admin(*now)),
            outcome => Ok(for_admin(written(outcome)?)),
        }
    }

    /// Deletes a book, which cannot be undone, and its open upload. Its buyers keep what they bought; its files are deleted when the last
    /// buyer is gone. Again: nothing happens.
    ///
    /// # Errors
    /// `NotFound` without such a book.
    pub async fn delete_book(&self, id: BookId, actor: &Actor) -> Result<(), ShopError> {
        match self.managed(id).await {
            Err(ShopError::BookDeleted) => return Ok(()),
            book => book?,
        };
        let entry = self.entry("book_deleted", actor, &id.to_string());
        written(self.database().delete_book(id, Some(&entry), self.now()).await?)?;
        if let Some(upload) = self.database().open_media_upload(id, AssetKind::Master, self.now()).await? {
            end_media_upload(self.database(), self.media().as_ref(), upload.id).await?;
        }
        Ok(())
    }

    /// Brings a book into a status, as far as the rules allow it: `ready` publishes, `hidden` hides, `deleted` deletes, `processing` goes on
    /// with what is due.
    ///
    /// # Errors
    /// `Invalid` for `draft`, and those of the operation.
    pub async fn force_status(&self, id: BookId, status: BookStatus, actor: &Actor) -> Result<Book, ShopError> {
        match status {
            BookStatus::Ready => self.finish_and_publish(id, actor).await,
            BookStatus::Hidden => self.hide_book(id, actor).await,
            BookStatus::Processing => self.complete(id, Duration::ZERO).await,
            BookStatus::Deleted => {
                self.delete_book(id, actor).await?;
                let deleted = self.database().book(id).await?.ok_or(crate::catalogue::NO_BOOK)?;
                Ok(for_admin(deleted))
            }
            BookStatus::Draft => Err(ShopError::invalid("status", "a book cannot be made a draft again; hide it")),
        }
    }

    /// Publishes a book whose upload may be complete and not finished: the caller says with one call that all bytes are there, and that it is
    /// to be sold.
    async fn finish_and_publish(&self, id: BookId, actor: &Actor) -> Result<Book, ShopError> {
        match self.complete(id, FORCED_WAIT).await {
            Ok(book) if matches!(book.status, BookStatus::Ready | BookStatus::Processing) => Ok(book),
            // It lacks something, or it is hidden.
            Ok(_) | Err(ShopError::NoFile | ShopError::UploadIncomplete { .. }) => self.publish_book(id, actor).await,
            Err(error) => Err(error),
        }
    }

    /// Ends the work on a book: it becomes ready when it has everything, else a draft again. A book that is not in work stays as it is, and so
    /// does one of which the audio pipeline has something left to do.
    pub(crate) async fn leave_processing(&self, id: BookId) -> Result<BookRecord, ShopError> {
        let book = self.managed(id).await?;
        if book.status != BookStatus::Processing {
            return Ok(book);
        }
        // An instance that ended right after it had stored the file has not begun it, and the book must not become ready without it.
        self.begin_pipeline(id).await?;
        if self.is_in_pipeline(id).await? {
            return Ok(book);
        }
        let complete = missing(&book).is_empty() && book.has_preview;
        let to = if complete { BookStatus::Ready } else { BookStatus::Draft };
        match self.database().set_book_status(id, &[BookStatus::Processing], to, None, self.now()).await? {
            // An admin was faster.
            BookWriteOutcome::Changed(now) if now.status != BookStatus::Deleted => Ok(*now),
            outcome => written(outcome),
        }
    }
}
