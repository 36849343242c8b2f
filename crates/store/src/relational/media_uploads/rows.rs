//! Reads rows of uploads.

use contracts::{AssetKind, BookId, UploadId, UserId};
use uuid::Uuid;

use super::{MediaUploadRecord, MediaUploadState};
use crate::StoreError;
use crate::media::{MediaKey, MultipartId, PartFacts};
use crate::relational::values::{Row, unreadable};

/// The columns of an upload.
macro_rules! columns {
    () => {
        "id, book, owner, kind, object_key, content_type, file_name, length, received, tail_bytes, tail_writer, parts, \
         last_number, hash_state, multipart_id, writer, state, sha256, created_at, expires_at"
    };
}
pub(super) use columns;

/// The upload in a row.
pub(super) fn read(row: &Row) -> Result<MediaUploadRecord, StoreError> {
    let kind: String = row.get("kind")?;
    let received = unsigned(row, "received")?;
    let hash_state: Vec<u8> = row.get("hash_state")?;
    let multipart: Option<String> = row.get("multipart_id")?;
    Ok(MediaUploadRecord {
        id: UploadId::from_uuid(row.get("id")?),
        book: BookId::from_uuid(row.get("book")?),
        owner: row.get::<Option<Uuid>>("owner")?.map(UserId::from_uuid),
        kind: kind.parse::<AssetKind>().map_err(|error| unreadable("kind of an upload", &error))?,
        key: key(row)?,
        content_type: row.get("content_type")?,
        file_name: row.get("file_name")?,
        length: row.get::<Option<i64>>("length")?.map(i64::unsigned_abs),
        offset: received,
        tail: unsigned(row, "tail_bytes")?,
        tail_writer: row.get("tail_writer")?,
        parts: small(row, "parts")?,
        next_number: small(row, "last_number")? + 1,
        hash_state: Some(hash_state).filter(|state| !state.is_empty()),
        multipart: multipart.map(MultipartId),
        writer: row.get("writer")?,
        state: state(row, received)?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
    })
}

fn state(row: &Row, bytes: u64) -> Result<MediaUploadState, StoreError> {
    let state: String = row.get("state")?;
    if state == "open" {
        return Ok(MediaUploadState::Open);
    }
    let sha256: Vec<u8> = row.get("sha256")?;
    let sha256 = sha256.try_into().map_err(|_| unreadable("SHA-256 of an upload", &"it has another length"))?;
    Ok(MediaUploadState::Complete { sha256, bytes })
}

/// The part in a row.
pub(super) fn part(row: &Row) -> Result<PartFacts, StoreError> {
    Ok(PartFacts { number: small(row, "number")?, bytes: unsigned(row, "bytes")?, tag: row.get("tag")? })
}

/// The key in a row.
pub(super) fn key(row: &Row) -> Result<MediaKey, StoreError> {
    let key: String = row.get("object_key")?;
    key.parse::<MediaKey>().map_err(|error| unreadable("key of an upload", &error))
}

/// A number of bytes for the database.
pub(super) fn number(bytes: u64) -> Result<i64, StoreError> {
    i64::try_from(bytes).map_err(|_| StoreError::Fatal(format!("{bytes} bytes are more than a file can have")))
}

fn unsigned(row: &Row, column: &str) -> Result<u64, StoreError> {
    u64::try_from(row.get::<i64>(column)?).map_err(|error| unreadable(column, &error))
}

fn small(row: &Row, column: &str) -> Result<u32, StoreError> {
    u32::try_from(row.get::<i64>(column)?).map_err(|error| unreadable(column, &error))
}
