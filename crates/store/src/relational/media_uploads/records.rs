//! Uploads as they begin, as they are, and what a writer adds to them.

use contracts::{AssetKind, BookId, UploadId, UserId};
use jiff::Timestamp;

use crate::media::{MediaKey, MultipartId, PartFacts};

/// An upload that begins.
#[derive(Debug, Clone)]
pub struct NewMediaUpload {
    /// Its id.
    pub id: UploadId,
    /// The book that the file is for.
    pub book: BookId,
    /// Who begins it. It is not known any more after the end of the user.
    pub owner: Option<UserId>,
    /// What the file is for the book.
    pub kind: AssetKind,
    /// The object that the file becomes.
    pub key: MediaKey,
    /// Length of the file, if the client told it.
    pub length: Option<u64>,
    /// What the client says that it is.
    pub content_type: String,
    /// Its name at the client.
    pub file_name: Option<String>,
    /// When it ends if nothing is appended.
    pub expires_at: Timestamp,
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaUploadState {
    /// Bytes may be appended.
    Open,
    /// The object is there.
    Complete {
        /// SHA-256 of the object.
        sha256: [u8; 32],
        /// Its length.
        bytes: u64,
    },
}

/// An upload as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaUploadRecord {
    /// Its id.
    pub id: UploadId,
    /// The book that the file is for.
    pub book: BookId,
    /// Who began it, if the user is still there.
    pub owner: Option<UserId>,
    /// What the file is for the book.
    pub kind: AssetKind,
    /// The object that the file becomes.
    pub key: MediaKey,
    /// What the client says that it is.
    pub content_type: String,
    /// Its name at the client.
    pub file_name: Option<String>,
    /// Length of the file, if the client told it.
    pub length: Option<u64>,
    /// Number of durable bytes: those of the parts, and those of the tail.
    pub offset: u64,
    /// Number of bytes after the last part.
    pub tail: u64,
    /// The writer that has stored them; `None` if there are none.
    pub tail_writer: Option<i64>,
    /// Number of parts.
    pub parts: u32,
    /// Number of the next part. Numbers have gaps.
    pub next_number: u32,
    /// State of a hash after the last part, as the writer wants it; `None` before the first append.
    pub hash_state: Option<Vec<u8>>,
    /// Its id in the media store; `None` before the first part.
    pub multipart: Option<MultipartId>,
    /// The number of the writer that took it last.
    pub writer: i64,
    /// What became of it.
    pub state: MediaUploadState,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends if nothing is appended.
    pub expires_at: Timestamp,
}

/// What a writer has stored since it took the upload, or since its last record.
#[derive(Debug, Clone)]
pub struct UploadProgress {
    /// The new parts, in the order of their numbers.
    pub parts: Vec<PartFacts>,
    /// Number of durable bytes after them, with the tail.
    pub offset: u64,
    /// Number of bytes of the tail that this writer has stored; 0 without one.
    pub tail: u64,
    /// State of a hash after the last part.
    pub hash_state: Vec<u8>,
    /// Length of the file, if it is known from now on.
    pub length: Option<u64>,
    /// When the upload ends if nothing more is appended.
    pub expires_at: Timestamp,
}
