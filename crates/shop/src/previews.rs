//! Previews: the first minute of a book, as a file of its own, so that a listener without the book never has a link to more.
//!
//! A preview that cannot be made now is tried again, later each time, and a bounded number of times; then the book has a fault that admins
//! see, and no more is tried until a new file comes or somebody publishes the book again.

use std::time::Duration;

use contracts::{AssetKind, BookId, BookStatus};
use sha2::{Digest, Sha256};
use sound::Preview;
use store::MediaKey;
use store::relational::{AssetRecord, BookRecord};

use crate::blocking::FileFailure;
use crate::{Shop, ShopError};

/// How often a book is worked on before it has a fault.
pub(crate) const MAX_ATTEMPTS: u32 = 6;
/// The fault of a book whose file is there and cannot be read, or is not there.
pub(crate) const UNREADABLE: &str = "file_unreadable";

impl Shop {
    /// Claims a book for some time, in which no other instance works on it. `false` when one does, or it is not due yet.
    pub(crate) async fn claim(&self, book: &BookRecord) -> Result<bool, ShopError> {
        if book.preview_after.is_some_and(|after| after > self.now()) {
            return Ok(false);
        }
        let until = self.now() + self.wait_after(book.preview_attempts);
        Ok(self.database().claim_book_work(book.id, book.preview_attempts, until).await?)
    }

    /// Twice as long after each attempt.
    fn wait_after(&self, attempts: u32) -> Duration {
        let timing = &self.0.timing;
        timing.lease.saturating_mul(1 << attempts.min(16)).min(timing.longest_wait.max(timing.lease))
    }

    /// Makes the preview of a book that has none, unless another instance does or it is not due yet. Then the book is ready or a draft again,
    /// as it has everything or not.
    pub(crate) async fn make_preview(&self, id: BookId) -> Result<BookRecord, ShopError> {
        let book = self.managed(id).await?;
        if book.has_preview || book.fault.is_some() {
            return self.leave_processing(id).await;
        }
        if book.preview_attempts >= MAX_ATTEMPTS {
            return self.give_up(id, UNREADABLE, book.preview_attempts).await;
        }
        let Some(master) = self.database().asset(id, AssetKind::Master).await? else { return Ok(book) };
        if !self.claim(&book).await? {
            return Ok(book);
        }
        match self.first_minute(&master.key, master.bytes).await {
            Ok(preview) => {
                let now = self.database().asset(id, AssetKind::Master).await?;
                if now.is_some_and(|now| now.key == master.key) {
                    self.store_preview(id, preview).await?;
                }
                self.leave_processing(id).await
            }
            Err(FileFailure::Refused(refusal)) => self.give_up(id, refusal.code(), book.preview_attempts).await,
            Err(FileFailure::Unreadable(cause)) => {
                let attempts = book.preview_attempts + 1;
                tracing::warn!(book.id = %id, attempts, error = cause, "the preview of a book could not be made");
                self.managed(id).await
            }
        }
    }

    async fn store_preview(&self, book: BookId, preview: Preview) -> Result<(), ShopError> {
        let Preview { media_type, extension, duration, bytes } = preview;
        let asset = AssetRecord {
            book,
            kind: AssetKind::Preview,
            key: MediaKey::new(book, AssetKind::Preview),
            bytes: bytes.len() as u64,
            sha256: Sha256::digest(&bytes).into(),
            content_type: media_type.to_owned(),
            file_name: format!("preview.{extension}"),
            duration: Some(duration),
            stored_at: self.now(),
        };
        self.store_asset(&asset, bytes.into()).await
    }

    /// Shows what is wrong with a book's file, and tries no more.
    pub(crate) async fn give_up(&self, id: BookId, fault: &str, attempts: u32) -> Result<BookRecord, ShopError> {
        tracing::error!(book.id = %id, fault, attempts, "the file of a book cannot be used; upload another one");
        self.database().set_book_fault(id, Some(fault), attempts, None, self.now()).await?;
        let from = [BookStatus::Processing];
        self.database().set_book_status(id, &from, BookStatus::Draft, None, self.now()).await?;
        self.managed(id).await
    }
}
