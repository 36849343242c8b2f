//! Why bytes of a file are refused: status, code and text of each refusal.

use std::collections::BTreeMap;

use api_kit::error::HttpError;
use http::StatusCode;

/// Why bytes of a file are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The upload goes on at another offset.
    #[error("{stored} bytes of this upload are stored, so it goes on at the offset {stored}; HEAD tells it too")]
    Offset {
        /// Durable bytes.
        stored: u64,
    },
    /// Another request writes to the upload.
    #[error("another request goes on with this upload; ask by HEAD how far it is, and continue there")]
    TakenOver,
    /// More bytes than the length of the upload, or than a file may have.
    #[error("the upload has at most {most} bytes, and these would be more; nothing of the last part was stored")]
    TooLong {
        /// Bytes that it may have.
        most: u64,
    },
    /// The length was told before, and it was another one.
    #[error(
        "Upload-Length: this upload has {known} bytes already, or more than that are stored; a length cannot change"
    )]
    OtherLength {
        /// The length, or the durable bytes if there is no length yet.
        known: u64,
    },
    /// All bytes are there.
    #[error("this upload is complete; complete the book, or begin another upload")]
    Complete,
    /// The upload ended or expired.
    #[error("this upload was ended, or nothing came for too long; begin another one")]
    Gone,
    /// The file has no bytes.
    #[error("the file is empty; send the bytes of a recording")]
    Empty,
    /// Bytes are missing.
    #[error("{stored} bytes of {length} are stored; send the rest from the offset {stored} on")]
    Incomplete {
        /// Durable bytes.
        stored: u64,
        /// Bytes of the whole.
        length: u64,
    },
    /// A part of a file in one request that can only take a whole one.
    #[error("Content-Range: PUT takes the whole file; send parts by PATCH with Upload-Offset (tus 1.0)")]
    PartialPut,
    /// Too many downloads at the same time.
    #[error("too many files are read at the same time; try again soon")]
    Busy,
    /// The user has its share of the downloads.
    #[error("too many files are read with links of the same user; end one, or try again soon")]
    ShareInUse,
    /// The condition of the request does not hold.
    #[error("the file has another version than the one in If-Match; its ETag names it")]
    OtherVersion,
    /// The file has none of the bytes.
    #[error("Range: the file has {length} bytes, and none of these; Content-Range names its length")]
    OutOfRange {
        /// Bytes of the file.
        length: u64,
    },
}

impl HttpError for FileError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Offset { .. } => (StatusCode::CONFLICT, "offset_mismatch"),
            Self::TakenOver => (StatusCode::CONFLICT, "upload_busy"),
            Self::TooLong { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "upload_too_large"),
            Self::OtherLength { .. } => (StatusCode::CONFLICT, "length_mismatch"),
            Self::Complete => (StatusCode::CONFLICT, "upload_complete"),
            Self::Gone => (StatusCode::NOT_FOUND, "upload_gone"),
            Self::Empty => (StatusCode::UNPROCESSABLE_ENTITY, "empty_upload"),
            Self::Incomplete { .. } => (StatusCode::CONFLICT, "upload_incomplete"),
            Self::PartialPut => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::ShareInUse => (StatusCode::TOO_MANY_REQUESTS, "share_in_use"),
            Self::OtherVersion => (StatusCode::PRECONDITION_FAILED, "other_version"),
            Self::OutOfRange { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "out_of_range"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::Busy | Self::ShareInUse | Self::TakenOver).then_some(1)
    }

    fn facts(&self) -> BTreeMap<String, String> {
        let (name, value) = match self {
            Self::Offset { stored } => ("offset", stored),
            Self::Incomplete { stored, .. } => ("offset", stored),
            Self::TooLong { most } => ("max_bytes", most),
            _ => return BTreeMap::new(),
        };
        BTreeMap::from([(name.to_owned(), value.to_string())])
    }
}
