//! Resumable uploads of media files: how far each is, and who may write it.
//!
//! In: what a writer has stored in the media store. Out: the upload as it is, with its parts.
//!
//! Guarantees:
//! - The offset counts only bytes that are durable: it is moved after the media store has them, in one transaction with their parts.
//! - One writer at a time: each takes the upload with a higher number, and what an earlier one records then is refused.
//! - No row ends before what it names is deleted from the media store ([`crate::sweep_media`]).

mod records;
mod rows;

use contracts::{AssetKind, BookId, UploadId};
use jiff::Timestamp;

use super::database::Relational;
use super::transaction::Transaction;
use super::values::{Row, Value, values};
use crate::StoreError;
use crate::media::{MAX_PARTS, MediaKey, MultipartId, PartFacts};
use rows::{columns, number, read};

pub use records::{MediaUploadRecord, MediaUploadState, NewMediaUpload, UploadProgress};

/// Maximum number of uploads of an installation whose files no book has. Of requests at the same time a few may exceed it.
pub const MAX_OPEN_UPLOADS: u32 = 1_000;

const DELETE: &str = "DELETE FROM media_uploads WHERE id = $1";

impl Relational {
    /// Begins an upload. `false` if there are [`MAX_OPEN_UPLOADS`] already.
    pub async fn begin_media_upload(&self, new: &NewMediaUpload, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        // One whose file a book has stays until it expires, for a client that asks again; it keeps nobody from the next one.
        let sql = "SELECT count(*) AS uploads FROM media_uploads \
                   WHERE NOT EXISTS (SELECT 1 FROM assets a WHERE a.media_key = media_uploads.object_key)";
        let uploads: i64 = transaction.row(sql, values![]).await?.map_or(Ok(0), |row| row.get("uploads"))?;
        if uploads >= i64::from(MAX_OPEN_UPLOADS) {
            return Ok(false);
        }
        let sql = "INSERT INTO media_uploads (id, book, owner, kind, object_key, content_type, file_name, length, received, \
                   tail_bytes, parts, last_number, hash_state, writer, state, sha256, created_at, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9, $9, $10, $9, 'open', $10, $11, $12)";
        let (id, book, kind) = (new.id.uuid(), new.book.uuid(), new.kind.as_str());
        let length = new.length.map(number).transpose()?;
        let (name, key) = (&new.file_name, new.key.to_string());
        let nothing: &[u8] = &[];
        let row = values![
            id,
            book,
            new.owner,
            kind,
            key,
            &new.content_type,
            name,
            length,
            0_i64,
            nothing,
            now,
            new.expires_at
        ];
        transaction.execute(sql, row).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The upload with this id; `None` if there is none, or it has expired.
    pub async fn media_upload(&self, id: UploadId, now: Timestamp) -> Result<Option<MediaUploadRecord>, StoreError> {
        let sql = concat!("SELECT ", columns!(), " FROM media_uploads WHERE id = $1 AND expires_at > $2");
        self.row(sql, values![id.uuid(), now]).await?.as_ref().map(read).transpose()
    }

    /// The newest upload of a book for this kind of file, complete or not; `None` if there is none, or it has expired.
    pub async fn open_media_upload(
        &self,
        book: BookId,
        kind: AssetKind,
        now: Timestamp,
    ) -> Result<Option<MediaUploadRecord>, StoreError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM media_uploads WHERE book = $1 AND kind = $2 AND expires_at > $3 ORDER BY created_at DESC, id DESC LIMIT 1"
        );
        self.row(sql, values![book.uuid(), kind.as_str(), now]).await?.as_ref().map(read).transpose()
    }

    /// Takes an upload for a new writer, so that nobody else records anything. `None` if it is not open, not there, or has expired.
    pub async fn take_media_upload(
        &self,
        id: UploadId,
        now: Timestamp,
    ) -> Result<Option<MediaUploadRecord>, StoreError> {
        // An earlier writer may still be storing the next part. This one gets another number, while there are enough of them: each request of a
        // client that sends small pieces takes the upload.
        let sql = concat!(
            "UPDATE media_uploads SET writer = writer + 1, \
             last_number = CASE WHEN last_number < 5000 THEN last_number + 1 ELSE last_number END \
             WHERE id = $1 AND state = 'open' AND expires_at > $2 RETURNING ",
            columns!()
        );
        self.changed_upload(sql, values![id.uuid(), now]).await
    }

    /// Records the id in the media store. `false` if another writer has taken the upload, or it is not open any more.
    pub async fn set_media_multipart(
        &self,
        id: UploadId,
        writer: i64,
        multipart: &MultipartId,
    ) -> Result<bool, StoreError> {
        let sql =
            "UPDATE media_uploads SET multipart_id = $3 WHERE id = $1 AND writer = $2 AND state = 'open' AND parts = 0";
        Ok(self.execute(sql, values![id.uuid(), writer, &multipart.0]).await? == 1)
    }

    /// Records what a writer has stored, with its parts, in one transaction. `false` if another writer has taken the upload, it is not open
    /// any more, or this does not follow from what is recorded; nothing is recorded then.
    pub async fn append_media_upload(
        &self,
        id: UploadId,
        writer: i64,
        progress: &UploadProgress,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        if !transaction.append_to_upload(id, writer, progress).await? {
            return Ok(false);
        }
        for part in &progress.parts {
            let sql = "INSERT INTO media_upload_parts (upload, number, bytes, tag) VALUES ($1, $2, $3, $4)";
            let row = values![id.uuid(), i64::from(part.number), number(part.bytes)?, &part.tag];
            transaction.execute(sql, row).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The recorded parts, in the order of their numbers.
    pub async fn media_upload_parts(&self, id: UploadId) -> Result<Vec<PartFacts>, StoreError> {
        let sql = "SELECT number, bytes, tag FROM media_upload_parts WHERE upload = $1 ORDER BY number";
        self.rows(sql, values![id.uuid()]).await?.iter().map(rows::part).collect()
    }

    /// Records that the object is there, with the tail in it. `false` if another writer has taken the upload, it is not open any more, or these
    /// are not its bytes.
    pub async fn complete_media_upload(
        &self,
        id: UploadId,
        writer: i64,
        sha256: &[u8; 32],
        bytes: u64,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE media_uploads SET state = 'complete', sha256 = $4, length = $3, expires_at = $5, tail_bytes = 0, \
                   tail_writer = NULL WHERE id = $1 AND writer = $2 AND state = 'open' AND received = $3";
        let values = values![id.uuid(), writer, number(bytes)?, &sha256[..], expires_at];
        Ok(self.execute(sql, values).await? == 1)
    }

    /// Forgets an upload, with its parts. Its object and what the media store has of it stay. `false` if there is none.
    pub async fn delete_media_upload(&self, id: UploadId) -> Result<bool, StoreError> {
        Ok(self.execute(DELETE, values![id.uuid()]).await? == 1)
    }

    /// Forgets an upload, and has the object of a complete one deleted, unless a book has that.
    pub(crate) async fn drop_media_upload(&self, id: UploadId, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "INSERT INTO media_to_delete (media_key, since) SELECT object_key, $2 FROM media_uploads \
                   WHERE id = $1 AND state = 'complete' \
                   AND NOT EXISTS (SELECT media_key FROM assets WHERE media_key = object_key) ON CONFLICT DO NOTHING";
        transaction.execute(sql, values![id.uuid(), now]).await?;
        let deleted = transaction.execute(DELETE, values![id.uuid()]).await?;
        transaction.commit().await?;
        Ok(deleted == 1)
    }

    /// Ends an upload for every writer: it counts as expired, and nobody records anything. `None` if there is none.
    pub(crate) async fn expire_media_upload(
        &self,
        id: UploadId,
        now: Timestamp,
    ) -> Result<Option<MediaUploadRecord>, StoreError> {
        let sql = concat!(
            "UPDATE media_uploads SET writer = writer + 1, expires_at = $2 WHERE id = $1 RETURNING ",
            columns!()
        );
        self.changed_upload(sql, values![id.uuid(), now]).await
    }

    /// Ids of uploads that have expired, at most `limit`, those that have waited longest first.
    pub(crate) async fn expired_media_uploads(&self, now: Timestamp, limit: u32) -> Result<Vec<UploadId>, StoreError> {
        let sql = "SELECT id FROM media_uploads WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2";
        let rows = self.rows(sql, values![now, i64::from(limit)]).await?;
        rows.iter().map(|row| Ok(UploadId::from_uuid(row.get("id")?))).collect()
    }

    /// The keys of all uploads: about [`MAX_OPEN_UPLOADS`] at most, and those of the last day that became files of books.
    pub(crate) async fn media_upload_keys(&self) -> Result<Vec<MediaKey>, StoreError> {
        let rows = self.rows("SELECT object_key FROM media_uploads", values![]).await?;
        rows.iter().map(rows::key).collect()
    }

    /// Runs a statement that changes an upload and returns it.
    async fn changed_upload(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Option<MediaUploadRecord>, StoreError> {
        let mut transaction = self.begin().await?;
        let changed: Option<Row> = transaction.row(sql, values).await?;
        transaction.commit().await?;
        changed.as_ref().map(read).transpose()
    }
}

impl Transaction {
    /// Moves the offset of an upload, if `progress` follows from what is recorded.
    async fn append_to_upload(
        &mut self,
        id: UploadId,
        writer: i64,
        progress: &UploadProgress,
    ) -> Result<bool, StoreError> {
        let UploadProgress { parts, offset, tail, hash_state, length, expires_at } = progress;
        let ascend = parts.windows(2).all(|pair| pair[0].number < pair[1].number);
        let within = parts.iter().all(|part| (1..=MAX_PARTS).contains(&part.number));
        if !ascend || !within {
            return Ok(false);
        }
        let sum: u64 = parts.iter().map(|part| part.bytes).sum();
        let (first, last) = (parts.first(), parts.last());
        let tail_writer = (*tail > 0).then_some(writer);
        // A condition that compares with NULL does not hold, so a missing number is one that is always greater.
        let first = first.map_or(i64::from(MAX_PARTS) + 1, |part| i64::from(part.number));
        let last = last.map(|part| i64::from(part.number));
        let sql = "UPDATE media_uploads SET received = $3, tail_bytes = $4, tail_writer = $5, hash_state = $6, \
                   length = COALESCE($7, length), expires_at = $8, parts = parts + $9, last_number = COALESCE($10, last_number) \
                   WHERE id = $1 AND writer = $2 AND state = 'open' AND last_number < $11 \
                   AND received - tail_bytes + $12 = $3 - $4";
        let values = values![
            id.uuid(),
            writer,
            number(*offset)?,
            number(*tail)?,
            tail_writer,
            &hash_state[..],
            length.map(number).transpose()?,
            *expires_at,
            parts.len() as i64,
            last,
            first,
            number(sum)?
        ];
        Ok(self.execute(sql, values).await? == 1)
    }
}
