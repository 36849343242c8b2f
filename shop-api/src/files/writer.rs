//! Writes the bytes of one upload: parts of 8 MiB, each durable when it is full, and the rest at the end of a request.
//!
//! In: an upload, an offset, bytes in pieces of any size. Out: parts and a tail in the media store, and what is durable in the upload's row.
//! Guarantees: the recorded offset never counts a byte that a crash could lose; after a cut, less than a part is sent again. A newer writer
//! fences an older one, on any instance: the older one records nothing more. With [`Commit::AtClose`] nothing counts before
//! [`Writer::close`], so a body with a wrong checksum changes nothing. At most one part is in memory. SHA-256 is computed as the bytes
//! come, and its state is recorded with them.

use api_kit::error::{ApiError, ServiceError};
use bytes::{Bytes, BytesMut};
use contracts::UploadId;
use futures::TryStreamExt;
use jiff::Timestamp;
use shop::Shop;
use store::{
    Media, MediaUploadRecord, MediaUploadState, MultipartId, PART_BYTES, PartFacts, Relational, StoreError,
    UploadProgress,
};

use super::error::FileError;
use super::hash_state::HashState;

/// Bytes of a part.
pub const PART: usize = PART_BYTES as usize;

/// When bytes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// Each full part at once.
    EachPart,
    /// All at the end.
    AtClose,
}

/// Appends to one upload.
pub struct Writer {
    shop: Shop,
    /// The row after it was taken.
    record: MediaUploadRecord,
    multipart: MultipartId,
    commit: Commit,
    /// Most bytes of the upload.
    most: u64,
    /// The length that the request tells, if the row has none.
    length: Option<u64>,
    /// The part that is being filled; at first the tail.
    part: BytesMut,
    /// Bytes of `part` that are in `hash`.
    hashed: usize,
    /// The hash of all bytes so far, but for less than a block.
    hash: HashState,
    /// The hash of the full parts.
    parts_hash: HashState,
    /// Bytes of the full parts.
    parts_end: u64,
    /// Number of the next part.
    next_number: u32,
    /// Full parts that are not recorded yet.
    unrecorded: Vec<PartFacts>,
    /// Durable bytes.
    recorded: u64,
    /// The writer whose tail is not needed any more when this one has recorded something.
    old_tail: Option<i64>,
}

impl Writer {
    /// Begins to append at `offset`, and fences an earlier writer. `length` is what the request tells.
    ///
    /// # Errors
    /// When the upload is not open, goes on at another offset, or has another length; or a store fails.
    pub async fn begin(
        shop: &Shop,
        id: UploadId,
        offset: u64,
        length: Option<u64>,
        commit: Commit,
    ) -> Result<Self, ApiError> {
        let (database, media, now) = (shop.database(), &**shop.media(), shop.now());
        // First without taking it: a request that must fail does not disturb one that writes.
        let current = database.media_upload(id, now).await?.ok_or(FileError::Gone)?;
        let most = check(&current, offset, length, shop.max_upload())?;
        let record = taken(database, id, now).await?;
        check(&record, offset, length, most)?;
        let multipart = multipart(database, media, &record).await?;
        let tail = tail(database, media, &record, &multipart, now).await?;
        let parts_hash = hash_state(&record)?;
        let mut part = BytesMut::with_capacity(PART.min(capacity(most, offset, tail.len())));
        part.extend_from_slice(&tail);
        let mut writer = Self {
            shop: shop.clone(),
            recorded: record.offset,
            parts_end: record.offset - record.tail,
            next_number: record.next_number,
            length: length.filter(|_| record.length.is_none()),
            hash: parts_hash.clone(),
            hashed: 0,
            unrecorded: Vec::new(),
            old_tail: record.tail_writer,
            record,
            multipart,
            commit,
            most,
            part,
            parts_hash,
        };
        writer.hash_arrived();
        Ok(writer)
    }

    /// Bytes that were taken, durable or not.
    pub fn offset(&self) -> u64 {
        self.parts_end + self.part.len() as u64
    }

    /// Checks that so many bytes may still come.
    ///
    /// # Errors
    /// When they are more than the upload has.
    pub fn check_room(&self, bytes: u64) -> Result<(), FileError> {
        if bytes > self.most.saturating_sub(self.offset()) {
            Err(FileError::TooLong { most: self.most })
        } else {
            Ok(())
        }
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// When they are more than the upload has, of which nothing is taken then; when another writer has taken the upload; or a store fails.
    pub async fn write(&mut self, mut content: Bytes) -> Result<(), ApiError> {
        self.check_room(content.len() as u64)?;
        while !content.is_empty() {
            let room = PART - self.part.len();
            let piece = content.split_to(room.min(content.len()));
            self.part.extend_from_slice(&piece);
            self.hash_arrived();
            if self.part.len() == PART {
                self.store_part().await?;
            }
        }
        Ok(())
    }

    /// Stores the rest too, and records everything. Returns the offset, which is durable. Call it also when the connection broke.
    ///
    /// # Errors
    /// When another writer has taken the upload, or a store fails.
    pub async fn close(mut self) -> Result<u64, ApiError> {
        if self.offset() == self.recorded && self.length.is_none() {
            return Ok(self.recorded);
        }
        let tail = std::mem::take(&mut self.part).freeze();
        let length = tail.len() as u64;
        if !tail.is_empty() {
            let stored = self.shop.media().put_tail(&self.record.key, &self.multipart, self.record.writer, tail).await;
            if let Err(error) = stored {
                return Err(self.failed(error).await);
            }
        }
        self.record_progress(length).await?;
        Ok(self.recorded)
    }

    /// Hashes the bytes of the part that are not hashed yet, but for less than a block.
    fn hash_arrived(&mut self) {
        self.hashed += self.hash.update(&self.part[self.hashed..]);
    }

    /// Stores the full part.
    async fn store_part(&mut self) -> Result<(), ApiError> {
        let left = self.most.saturating_sub(self.offset());
        let content = std::mem::take(&mut self.part).freeze();
        let media = self.shop.media();
        match media.put_part(&self.record.key, &self.multipart, self.next_number, content).await {
            Ok(stored) => self.unrecorded.push(stored),
            Err(error) => return Err(self.failed(error).await),
        }
        self.next_number += 1;
        self.parts_end += PART_BYTES;
        self.hashed = 0;
        self.parts_hash = self.hash.clone();
        if self.commit == Commit::EachPart {
            self.record_progress(0).await?;
        }
        self.part.reserve(PART.min(usize::try_from(left).unwrap_or(PART)));
        Ok(())
    }

    /// The cause of a failure of the media store: the parts are gone if a newer writer has finished the upload.
    async fn failed(&self, error: StoreError) -> ApiError {
        let (id, writer) = (self.record.id, self.record.writer);
        match self.shop.database().media_upload(id, self.shop.now()).await {
            Ok(Some(row)) if row.writer == writer && row.state == MediaUploadState::Open => error.into(),
            Ok(_) => FileError::TakenOver.into(),
            Err(_) => error.into(),
        }
    }

    /// Records the full parts and the tail, if no newer writer has taken the upload.
    async fn record_progress(&mut self, tail: u64) -> Result<(), ApiError> {
        let progress = UploadProgress {
            parts: std::mem::take(&mut self.unrecorded),
            offset: self.parts_end + tail,
            tail,
            hash_state: self.parts_hash.store(),
            length: self.length.take(),
            expires_at: self.shop.upload_expires_at(),
        };
        let database = self.shop.database();
        if !database.append_media_upload(self.record.id, self.record.writer, &progress).await? {
            return Err(FileError::TakenOver.into());
        }
        self.recorded = progress.offset;
        self.delete_old_tail().await;
        Ok(())
    }

    /// Each request of a client that sends small pieces would leave up to a part until the upload ends.
    async fn delete_old_tail(&mut self) {
        let Some(writer) = self.old_tail.take() else { return };
        if let Err(error) = self.shop.media().delete_tail(&self.record.key, &self.multipart, writer).await {
            tracing::debug!(upload.id = %self.record.id, %error, "an old tail is deleted with its upload");
        }
    }
}

/// Checks that a request may append to an upload. Returns the most bytes that the upload may have.
fn check(record: &MediaUploadRecord, offset: u64, length: Option<u64>, most: u64) -> Result<u64, ApiError> {
    if record.state != MediaUploadState::Open {
        return Err(FileError::Complete.into());
    }
    if record.offset != offset {
        return Err(FileError::Offset { stored: record.offset }.into());
    }
    match (record.length, length) {
        (Some(known), Some(told)) if known != told => Err(FileError::OtherLength { known }.into()),
        (None, Some(told)) if told < record.offset => Err(FileError::OtherLength { known: record.offset }.into()),
        (None, Some(told)) if told > most => Err(FileError::TooLong { most }.into()),
        (known, told) => Ok(known.or(told).unwrap_or(most)),
    }
}

/// The row, taken: no earlier writer records anything any more.
async fn taken(database: &Relational, id: UploadId, now: Timestamp) -> Result<MediaUploadRecord, ApiError> {
    match database.take_media_upload(id, now).await? {
        Some(record) => Ok(record),
        None => match database.media_upload(id, now).await? {
            Some(_) => Err(FileError::Complete.into()),
            None => Err(FileError::Gone.into()),
        },
    }
}

/// The multipart upload of the media store, which the first writer of a byte that counts has begun.
async fn multipart(
    database: &Relational,
    media: &dyn Media,
    record: &MediaUploadRecord,
) -> Result<MultipartId, ApiError> {
    match &record.multipart {
        // Nothing of it counted, such as the parts of a PUT that broke off. Each try would leave up to a whole file until the upload ends.
        Some(unused) if record.offset == 0 => media.abort(&record.key, unused).await?,
        Some(multipart) => return Ok(multipart.clone()),
        None => {}
    }
    let begun = media.begin(&record.key, &record.content_type).await?;
    if database.set_media_multipart(record.id, record.writer, &begun).await? {
        return Ok(begun);
    }
    // The newer writer begins its own.
    media.abort(&record.key, &begun).await?;
    Err(FileError::TakenOver.into())
}

/// The bytes after the full parts. A newer writer deletes them when it has recorded what follows.
async fn tail(
    database: &Relational,
    media: &dyn Media,
    record: &MediaUploadRecord,
    multipart: &MultipartId,
    now: Timestamp,
) -> Result<Bytes, ApiError> {
    let Some(writer) = record.tail_writer.filter(|_| record.tail > 0) else { return Ok(Bytes::new()) };
    let stored = media.tail(&record.key, multipart, writer).await?;
    if let Some(tail) = stored.filter(|tail| tail.len() as u64 == record.tail) {
        return Ok(tail);
    }
    match database.media_upload(record.id, now).await? {
        Some(row) if row.writer == record.writer => Err(lost(record, "the tail of its parts")),
        _ => Err(FileError::TakenOver.into()),
    }
}

fn hash_state(record: &MediaUploadRecord) -> Result<HashState, ApiError> {
    let Some(stored) = &record.hash_state else { return Ok(HashState::begin()) };
    let state = HashState::restore(stored).filter(|state| state.bytes() == record.offset - record.tail);
    state.ok_or_else(|| lost(record, "the state of its hash"))
}

/// A defect: the row counts bytes that are not there.
fn lost(record: &MediaUploadRecord, what: &str) -> ApiError {
    ServiceError::Internal(anyhow::anyhow!("the upload {} has lost {what}; end it and begin another one", record.id))
        .into()
}

/// Bytes of the first part that are there or can come.
fn capacity(most: u64, offset: u64, tail: usize) -> usize {
    usize::try_from(most.saturating_sub(offset)).unwrap_or(PART).saturating_add(tail)
}

/// Makes the file of an upload whose bytes are all there, and records its hash. Again, also after a crash in between: the same.
///
/// # Errors
/// When bytes are missing or there are none, when another request does the same, or a store fails.
pub async fn finish(shop: &Shop, id: UploadId) -> Result<(u64, [u8; 32]), ApiError> {
    let (database, media, now) = (shop.database(), &**shop.media(), shop.now());
    let current = database.media_upload(id, now).await?.ok_or(FileError::Gone)?;
    if let MediaUploadState::Complete { sha256, bytes } = current.state {
        return Ok((bytes, sha256));
    }
    let stored = current.offset;
    if let Some(length) = current.length.filter(|length| *length != stored) {
        return Err(FileError::Incomplete { stored, length }.into());
    }
    if stored == 0 {
        return Err(FileError::Empty.into());
    }
    let record = taken(database, id, now).await?;
    if record.offset != stored {
        return Err(FileError::TakenOver.into());
    }
    let rest = joined(database, media, &record, now).await?;
    let sha256 = hash_state(&record)?.finish(&rest);
    let expires_at = shop.upload_expires_at();
    if database.complete_media_upload(id, record.writer, &sha256, stored, expires_at).await? {
        return Ok((stored, sha256));
    }
    Err(FileError::TakenOver.into())
}

/// Joins the parts to the object, if that was not done before. Returns the bytes after the full parts.
async fn joined(
    database: &Relational,
    media: &dyn Media,
    record: &MediaUploadRecord,
    now: Timestamp,
) -> Result<Bytes, ApiError> {
    if media.head(&record.key).await?.is_some_and(|object| object.bytes == record.offset) {
        return read_rest(media, record).await;
    }
    let multipart = record.multipart.as_ref().ok_or_else(|| lost(record, "the id of its parts"))?;
    let rest = tail(database, media, record, multipart, now).await?;
    let mut parts = database.media_upload_parts(record.id).await?;
    if !rest.is_empty() {
        parts.push(media.put_part(&record.key, multipart, record.next_number, rest.clone()).await?);
    }
    media.finish(&record.key, multipart, &parts).await?;
    Ok(rest)
}

/// The bytes after the full parts, from the object.
async fn read_rest(media: &dyn Media, record: &MediaUploadRecord) -> Result<Bytes, ApiError> {
    let range = record.offset - record.tail..record.offset;
    if range.is_empty() {
        return Ok(Bytes::new());
    }
    let mut blocks = media.read(&record.key, range).await?.ok_or_else(|| lost(record, "its file"))?;
    let mut rest = BytesMut::new();
    while let Some(block) = blocks.try_next().await? {
        rest.extend_from_slice(&block);
    }
    if rest.len() as u64 == record.tail { Ok(rest.freeze()) } else { Err(lost(record, "the end of its file")) }
}
