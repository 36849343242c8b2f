//! Files of books. The media store has their content; here are their keys and what is known of them.
//!
//! The key of an object that no book has is in `media_to_delete`, and a task deletes the object. A key is put there before its object is
//! written, and taken out with the row of its asset, so a crash leaves no object that nobody knows.

use std::time::Duration;

use contracts::{AssetKind, BookId, BookStatus, whole_microseconds};
use jiff::Timestamp;

use super::{book_id, duration, millis, named, page_limit};
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, unreadable, values};
use crate::{MediaKey, StoreError};

/// A file of a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetRecord {
    /// The book.
    pub book: BookId,
    /// What it is.
    pub kind: AssetKind,
    /// Key of its object.
    pub key: MediaKey,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: [u8; 32],
    /// Its media type.
    pub content_type: String,
    /// The name under which it is downloaded.
    pub file_name: String,
    /// How long it plays.
    pub duration: Option<Duration>,
    /// When it was stored.
    pub stored_at: Timestamp,
}

/// The outcome of writing a file of a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetWriteOutcome {
    /// Stored.
    Stored {
        /// The one that the book had before.
        replaced: Option<Box<AssetRecord>>,
    },
    /// There is no such book, or it is deleted.
    UnknownBook,
}

/// Reads the files of a book.
const ASSETS: &str = "SELECT book_id, kind, media_key, bytes, sha256, content_type, file_name, duration_ms, stored_at \
                      FROM assets WHERE book_id = $1 ORDER BY kind";
const ASSET: &str = "SELECT book_id, kind, media_key, bytes, sha256, content_type, file_name, duration_ms, stored_at \
                     FROM assets WHERE book_id = $1 AND kind = $2";
/// Has an object deleted.
const FORGET: &str = "INSERT INTO media_to_delete (media_key, since) VALUES ($1, $2) ON CONFLICT DO NOTHING";

impl AssetRecord {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let key: String = row.get("media_key")?;
        let sha256: Vec<u8> = row.get("sha256")?;
        Ok(Self {
            book: book_id(row)?,
            kind: named(row, "kind")?,
            key: media_key(&key)?,
            bytes: row.get::<i64>("bytes")?.unsigned_abs(),
            sha256: sha256.try_into().map_err(|_| unreadable("SHA-256 of a file", &"it has another length"))?,
            content_type: row.get("content_type")?,
            file_name: row.get("file_name")?,
            duration: row.get::<Option<i64>>("duration_ms")?.map(duration),
            stored_at: row.get("stored_at")?,
        })
    }
}

fn media_key(text: &str) -> Result<MediaKey, StoreError> {
    // Without the cause, which may quote the key: whoever knows it may know an address of the object.
    text.parse().map_err(|_| unreadable("key of a file", &"it is malformed"))
}

impl Relational {
    /// A file of a book.
    pub async fn asset(&self, book: BookId, kind: AssetKind) -> Result<Option<AssetRecord>, StoreError> {
        self.row(ASSET, values![book, kind.as_str()]).await?.as_ref().map(AssetRecord::read).transpose()
    }

    /// The files of a book.
    pub async fn assets(&self, book: BookId) -> Result<Vec<AssetRecord>, StoreError> {
        self.rows(ASSETS, values![book]).await?.iter().map(AssetRecord::read).collect()
    }

    /// Gives a book a file, instead of the one of this kind that it has. With a new master, the preview ends, and is due again.
    pub async fn put_asset(&self, asset: &AssetRecord, now: Timestamp) -> Result<AssetWriteOutcome, StoreError> {
        let now = whole_microseconds(now);
        let mut transaction = self.begin().await?;
        let book = transaction.lock_book(asset.book).await?.filter(|book| book.status != BookStatus::Deleted);
        if book.is_none() {
            return Ok(AssetWriteOutcome::UnknownBook);
        }
        let known = transaction.asset(asset.book, asset.kind).await?;
        if known.as_ref().is_some_and(|known| known.key == asset.key) {
            return Ok(AssetWriteOutcome::Stored { replaced: None });
        }
        let replaced = transaction.remove_asset(asset.book, asset.kind, now).await?;
        transaction.insert_asset(asset).await?;
        transaction.follow(asset, now).await?;
        transaction.commit().await?;
        Ok(AssetWriteOutcome::Stored { replaced: replaced.map(Box::new) })
    }

    /// Takes a file from a book. Its object is deleted by a task.
    pub async fn remove_asset(
        &self,
        book: BookId,
        kind: AssetKind,
        now: Timestamp,
    ) -> Result<Option<AssetRecord>, StoreError> {
        let mut transaction = self.begin().await?;
        let removed = match transaction.lock_book(book).await? {
            Some(_) => transaction.remove_asset(book, kind, whole_microseconds(now)).await?,
            None => None,
        };
        transaction.commit().await?;
        Ok(removed)
    }

    /// Has objects deleted, unless a book gets them as its files.
    pub async fn forget_media(&self, keys: &[MediaKey], since: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for key in keys {
            transaction.execute(FORGET, values![key.to_string(), since]).await?;
        }
        transaction.commit().await
    }

    /// Objects that no book has had since `older_than`, those that have waited longest first.
    pub async fn media_to_delete(&self, older_than: Timestamp, limit: u32) -> Result<Vec<MediaKey>, StoreError> {
        // A key that a book got while another call gave it up stays that of the book.
        let sql = "SELECT d.media_key FROM media_to_delete d WHERE d.since < $1 \
                   AND NOT EXISTS (SELECT 1 FROM assets a WHERE a.media_key = d.media_key) \
                   ORDER BY d.since, d.media_key LIMIT $2";
        let rows = self.rows(sql, values![older_than, page_limit(limit)]).await?;
        rows.iter().map(|row| media_key(&row.get::<String>("media_key")?)).collect()
    }

    /// Records that objects are deleted.
    pub async fn media_deleted(&self, keys: &[MediaKey]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for key in keys {
            let sql = "DELETE FROM media_to_delete WHERE media_key = $1";
            transaction.execute(sql, values![key.to_string()]).await?;
        }
        transaction.commit().await
    }
}

impl Transaction {
    async fn asset(&mut self, book: BookId, kind: AssetKind) -> Result<Option<AssetRecord>, StoreError> {
        self.row(ASSET, values![book, kind.as_str()]).await?.as_ref().map(AssetRecord::read).transpose()
    }

    async fn insert_asset(&mut self, asset: &AssetRecord) -> Result<(), StoreError> {
        let AssetRecord { book, kind, key, bytes, sha256, content_type, file_name, duration, stored_at } = asset;
        let bytes = i64::try_from(*bytes).unwrap_or(i64::MAX);
        let (duration, stored_at) = (duration.map(millis), whole_microseconds(*stored_at));
        let row = values![
            *book,
            kind.as_str(),
            key.to_string(),
            bytes,
            &sha256[..],
            content_type,
            file_name,
            duration,
            stored_at
        ];
        let sql = "INSERT INTO assets (book_id, kind, media_key, bytes, sha256, content_type, file_name, duration_ms, \
                   stored_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        self.execute(sql, row).await?;
        let sql = "DELETE FROM media_to_delete WHERE media_key = $1";
        self.execute(sql, values![key.to_string()]).await.map(drop)
    }

    /// What follows for a locked book from a new file.
    async fn follow(&mut self, asset: &AssetRecord, now: Timestamp) -> Result<(), StoreError> {
        match asset.kind {
            AssetKind::Master => {
                self.remove_asset(asset.book, AssetKind::Preview, now).await?;
                let sql = "UPDATE books SET duration_ms = $2, fault = NULL, preview_attempts = 0, preview_after = $3, \
                           version = version + 1, updated_at = $3 WHERE id = $1";
                self.execute(sql, values![asset.book, asset.duration.map(millis), now]).await.map(drop)
            }
            AssetKind::Preview => {
                let sql = "UPDATE books SET preview_attempts = 0, preview_after = NULL, updated_at = $2 WHERE id = $1";
                self.execute(sql, values![asset.book, now]).await.map(drop)
            }
            AssetKind::Cover => {
                let sql = "UPDATE books SET updated_at = $2 WHERE id = $1";
                self.execute(sql, values![asset.book, now]).await.map(drop)
            }
        }
    }

    /// Takes a file from a locked book.
    async fn remove_asset(
        &mut self,
        book: BookId,
        kind: AssetKind,
        now: Timestamp,
    ) -> Result<Option<AssetRecord>, StoreError> {
        let Some(known) = self.asset(book, kind).await? else { return Ok(None) };
        let sql = "DELETE FROM assets WHERE book_id = $1 AND kind = $2";
        self.execute(sql, values![book, kind.as_str()]).await?;
        self.execute(FORGET, values![known.key.to_string(), now]).await?;
        Ok(Some(known))
    }

    /// Takes all files from a locked book.
    pub(super) async fn remove_assets(&mut self, book: BookId, now: Timestamp) -> Result<(), StoreError> {
        for kind in AssetKind::ALL {
            self.remove_asset(book, kind, whole_microseconds(now)).await?;
        }
        Ok(())
    }
}
