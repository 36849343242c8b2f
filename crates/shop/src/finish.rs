//! Finishing a book: from the stored bytes of an upload to a book that is for sale.
//!
//! ```text
//! upload complete ─▶ claim ─▶ probe ─▶ master ─▶ preview ─▶ ready, or a draft without price
//!                               └─▶ refused by name: file and upload deleted
//! ```
//!
//! Each step is stored before the next one and may be repeated, so that a crash anywhere is continued by a repeat of the call, or by the
//! regular task of any instance.

use std::time::Duration;

use contracts::{AssetKind, BookId, BookStatus, UploadId};
use sound::Sound;
use store::relational::{AssetRecord, AssetWriteOutcome, BookRecord};
use store::{MediaUploadRecord, MediaUploadState, end_media_upload};
use tokio::time::{Instant, sleep, timeout_at};

use crate::blocking::FileFailure;
use crate::catalogue::for_admin;
use crate::previews::{MAX_ATTEMPTS, UNREADABLE};
use crate::{Book, Shop, ShopError};

/// Longest time for which a caller may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// Pause between two looks at a book that another instance works on.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Longest part of a file's name before its extension, in characters.
const MAX_STEM: usize = 120;

impl Shop {
    /// Makes the stored bytes of an upload the file of its book, and the book ready when it has everything. Again: the same. Waits at most
    /// `wait`; the work goes on after it, and the book is `processing`.
    ///
    /// # Errors
    /// `UploadIncomplete`, `EmptyUpload`, `Sound` with the code of the refusal: the upload and its bytes are deleted then. `Unavailable` while
    /// another instance reads the file, if the book has an older one.
    pub async fn finish_upload(&self, id: UploadId, wait: Duration) -> Result<Book, ShopError> {
        let upload = self.upload(id).await?;
        let book = upload.book;
        check_complete(&upload)?;
        self.in_background(book, wait, move |shop| async move { shop.finish(&upload).await }).await
    }

    /// Goes on with what is due for a book: its newest upload, if all bytes are there, else its preview. Waits at most `wait`.
    ///
    /// # Errors
    /// As [`Self::finish_upload`]; `NoFile` for a book without a file and without an upload.
    pub async fn complete(&self, id: BookId, wait: Duration) -> Result<Book, ShopError> {
        let book = self.managed(id).await?;
        let upload = self.database().open_media_upload(id, AssetKind::Master, self.now()).await?;
        match upload {
            Some(upload) if check_complete(&upload).is_ok() => self.finish_upload(upload.id, wait).await,
            Some(upload) if book.content_type.is_none() => {
                Err(check_complete(&upload).err().unwrap_or(ShopError::NoFile))
            }
            None if book.content_type.is_none() => Err(ShopError::NoFile),
            _ => self.in_background(id, wait, move |shop| async move { shop.make_preview(id).await }).await,
        }
    }

    /// Makes the newest upload of a book its file, if all its bytes are there and it is not its file already. Waits at most `wait` for that, and
    /// not for the audio pipeline.
    ///
    /// # Errors
    /// As [`Self::complete`].
    pub async fn take_upload(&self, id: BookId, wait: Duration) -> Result<(), ShopError> {
        let book = self.managed(id).await?;
        let upload = self.database().open_media_upload(id, AssetKind::Master, self.now()).await?;
        let upload = match upload {
            Some(upload) if check_complete(&upload).is_ok() => upload,
            Some(upload) if book.content_type.is_none() => {
                return Err(check_complete(&upload).err().unwrap_or(ShopError::NoFile));
            }
            None if book.content_type.is_none() => return Err(ShopError::NoFile),
            _ => return Ok(()),
        };
        let shop = self.clone();
        let finishing = tokio::spawn(async move { shop.finish(&upload).await });
        match timeout_at(Instant::now() + wait.min(LONGEST_WAIT), finishing).await {
            Ok(done) => {
                done.map_err(|error| ShopError::Internal(format!("the work on a book ended: {error}")))??;
                Ok(())
            }
            // It goes on.
            Err(_) => Ok(()),
        }
    }

    /// Runs work on a book in a task of its own, so that it goes on when the caller goes away. Waits for it, and for the work of another
    /// instance, at most `wait`.
    async fn in_background<W, F>(&self, book: BookId, wait: Duration, work: W) -> Result<Book, ShopError>
    where
        W: FnOnce(Self) -> F,
        F: Future<Output = Result<BookRecord, ShopError>> + Send + 'static,
    {
        let deadline = Instant::now() + wait.min(LONGEST_WAIT);
        let task = tokio::spawn(work(self.clone()));
        let mut record = match timeout_at(deadline, task).await {
            Ok(done) => done.map_err(|error| ShopError::Internal(format!("the work on a book ended: {error}")))??,
            Err(_) => self.managed(book).await?,
        };
        while record.status == BookStatus::Processing && Instant::now() < deadline {
            if let Some(failure) = self.pipeline_failure(book).await? {
                return Err(failure);
            }
            sleep(LOOK_AGAIN.min(deadline - Instant::now())).await;
            record = self.managed(book).await?;
        }
        Ok(for_admin(record))
    }

    /// Finishes an upload whose bytes are all there.
    pub(crate) async fn finish(&self, upload: &MediaUploadRecord) -> Result<BookRecord, ShopError> {
        let (sha256, bytes) = check_complete(upload)?;
        let book = match self.managed(upload.book).await {
            Err(ShopError::BookDeleted) => {
                end_media_upload(self.database(), self.media().as_ref(), upload.id).await?;
                return Err(ShopError::BookDeleted);
            }
            book => book?,
        };
        let master = self.database().asset(book.id, AssetKind::Master).await?;
        if master.is_some_and(|master| master.key == upload.key) {
            self.begin_pipeline(book.id).await?;
            return self.make_preview(book.id).await;
        }
        let book = self.without_fault(book).await?;
        if book.preview_attempts >= MAX_ATTEMPTS {
            // Each try ended with its process.
            let failure = FileFailure::Unreadable("the file could not be read to its end".to_owned());
            return Err(self.not_finished(upload, &book, failure).await?);
        }
        if !self.claim(&book).await? {
            if matches!(book.status, BookStatus::Draft | BookStatus::Processing) {
                return Ok(book);
            }
            // It keeps its status and its old file meanwhile, so nothing else tells that the new one is not its file yet.
            return Err(ShopError::Unavailable(
                "another request or instance reads the new file of this book".to_owned(),
            ));
        }
        let drafts = [BookStatus::Draft];
        self.database().set_book_status(book.id, &drafts, BookStatus::Processing, None, self.now()).await?;
        let sound = match self.probe(&upload.key, bytes).await {
            Ok(sound) => sound,
            Err(failure) => return Err(self.not_finished(upload, &book, failure).await?),
        };
        let asset = self.master(upload, &book, &sound, sha256, bytes);
        match self.database().put_asset(&asset, self.now()).await? {
            AssetWriteOutcome::Stored { .. } => {
                self.begin_pipeline(book.id).await?;
                self.make_preview(book.id).await
            }
            AssetWriteOutcome::UnknownBook => {
                end_media_upload(self.database(), self.media().as_ref(), upload.id).await?;
                Err(ShopError::BookDeleted)
            }
        }
    }

    /// The fault of the file before, and the tries to read it, do not count for the next one.
    async fn without_fault(&self, book: BookRecord) -> Result<BookRecord, ShopError> {
        if book.fault.is_none() {
            return Ok(book);
        }
        self.database().set_book_fault(book.id, None, 0, None, self.now()).await?;
        self.managed(book.id).await
    }

    fn master(
        &self,
        upload: &MediaUploadRecord,
        book: &BookRecord,
        sound: &Sound,
        sha256: [u8; 32],
        bytes: u64,
    ) -> AssetRecord {
        AssetRecord {
            book: book.id,
            kind: AssetKind::Master,
            key: upload.key,
            bytes,
            sha256,
            content_type: sound.container.media_type().to_owned(),
            file_name: file_name(upload.file_name.as_deref(), &book.title, sound.container.extension()),
            duration: Some(sound.duration),
            stored_at: self.now(),
        }
    }

    /// What follows when a file was not accepted: a refused one is deleted with its upload, one that cannot be read is tried again, a bounded
    /// number of times. Returns the error for the caller.
    async fn not_finished(
        &self,
        upload: &MediaUploadRecord,
        book: &BookRecord,
        failure: FileFailure,
    ) -> Result<ShopError, ShopError> {
        let fault = match &failure {
            FileFailure::Refused(refusal) => refusal.code(),
            FileFailure::Unreadable(cause) if book.preview_attempts + 1 < MAX_ATTEMPTS => {
                tracing::warn!(book.id = %book.id, error = cause, "an uploaded file could not be read and is tried again");
                return Ok(failure.into());
            }
            FileFailure::Unreadable(_) => UNREADABLE,
        };
        tracing::warn!(book.id = %book.id, upload.id = %upload.id, fault, "an uploaded file was refused");
        end_media_upload(self.database(), self.media().as_ref(), upload.id).await?;
        // What could not be read may be accepted by another instance at this moment: the regular task deletes it, unless a book has it.
        if matches!(failure, FileFailure::Refused(_))
            && let Err(error) = self.media().delete(&upload.key).await
        {
            tracing::warn!(book.id = %book.id, error = error.to_string(), "a refused file is deleted later");
        }
        // A book that has an older file keeps it, and that one has no fault.
        let now = self.now();
        let (fault, due) = if book.content_type.is_none() { (Some(fault), None) } else { (None, Some(now)) };
        self.database().set_book_fault(book.id, fault, 0, due, now).await?;
        self.leave_processing(book.id).await?;
        Ok(failure.into())
    }
}

/// Hash and length of an upload whose bytes are all there.
fn check_complete(upload: &MediaUploadRecord) -> Result<([u8; 32], u64), ShopError> {
    match upload.state {
        MediaUploadState::Complete { bytes: 0, .. } => Err(ShopError::EmptyUpload),
        MediaUploadState::Complete { sha256, bytes } => Ok((sha256, bytes)),
        MediaUploadState::Open => Err(ShopError::UploadIncomplete { offset: upload.offset, length: upload.length }),
    }
}

/// The name under which buyers save the file: that of the upload or else the title, with the extension of what the file is.
fn file_name(uploaded: Option<&str>, title: &str, extension: &str) -> String {
    let stem = uploaded.map(|name| name.rsplit_once('.').map_or(name, |(stem, _)| stem));
    let stem = stem.filter(|stem| !stem.trim().is_empty()).unwrap_or(title);
    let safe = |letter: char| {
        let unsafe_in_names = letter.is_control() || "/\\:*?\"<>|".contains(letter);
        if unsafe_in_names { '_' } else { letter }
    };
    let stem: String = stem.trim().chars().take(MAX_STEM).map(safe).collect();
    // No file that is hidden, or named by dots alone.
    format!("{}.{extension}", stem.trim_start_matches('.').trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_upload_or_its_title() {
        for (uploaded, named) in [
            (Some("emma vol 1.wav"), "emma vol 1.mp3"),
            (Some("emma"), "emma.mp3"),
            (Some(".mp3"), "Emma_ a novel.mp3"),
            (Some("a\"b<c>.mp3"), "a_b_c_.mp3"),
            (None, "Emma_ a novel.mp3"),
        ] {
            assert_eq!(file_name(uploaded, "Emma: a novel", "mp3"), named);
        }
        assert!(file_name(Some(&"x".repeat(1_000)), "Emma", "mp3").len() < 130);
    }
}
