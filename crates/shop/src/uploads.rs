//! Uploads of books: who may upload what, and the links for it. The bytes are written by the service that receives them.

use accounts::{LinkKind, SecretText};
use contracts::{AssetKind, BookId, UploadId, UserId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::relational::Role;
use store::{MediaKey, MediaUploadRecord, MediaUploadState, NewMediaUpload};

use crate::{Shop, ShopError};

/// Longest name of a file, in bytes.
const MAX_FILE_NAME: usize = 255;
/// Longest media type, in bytes.
const MAX_CONTENT_TYPE: usize = 100;
/// The type of a file of which the client says none.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// What a client says of a file before it sends it. Nothing of it is believed: the type and the extension come from the bytes.
#[derive(Debug, Clone, Default)]
pub struct UploadRequest {
    /// The name on the client's disk.
    pub file_name: Option<String>,
    /// The media type.
    pub content_type: Option<String>,
    /// The length in bytes, if it is known.
    pub length: Option<u64>,
}

/// An upload with its link.
#[derive(Debug, Clone)]
pub struct UploadTicket {
    /// The upload.
    pub upload: MediaUploadRecord,
    /// The token of the link, which is a secret.
    pub token: SecretText,
    /// The end of the link. The upload itself may end earlier, when nobody appends to it.
    pub expires_at: Timestamp,
    /// Longest file, in bytes.
    pub max_bytes: u64,
}

/// What the link of an upload allows.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct UploadGrant {
    upload: UploadId,
}

impl Shop {
    /// Begins the upload of a book's audio file, for an admin. An earlier upload of the book goes on beside it; the one that is finished last
    /// counts.
    ///
    /// # Errors
    /// `Invalid` for a name with a path in it, `UploadTooLarge`, `EmptyUpload`, `TooManyUploads`.
    pub async fn begin_upload(
        &self,
        admin: UserId,
        book: BookId,
        request: UploadRequest,
    ) -> Result<UploadTicket, ShopError> {
        let request = self.check_request(request)?;
        let now = self.now();
        if self.managed(book).await?.preview_attempts > 0 {
            // A new file is a new beginning: it does not wait for what went wrong with the one before.
            self.database().set_book_fault(book, None, 0, Some(now), now).await?;
        }
        let new = NewMediaUpload {
            id: UploadId::now(),
            book,
            owner: Some(admin),
            kind: AssetKind::Master,
            key: MediaKey::new(book, AssetKind::Master),
            length: request.length,
            content_type: request.content_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned()),
            file_name: request.file_name,
            expires_at: self.upload_expires_at(),
        };
        if !self.database().begin_media_upload(&new, now).await? {
            return Err(ShopError::TooManyUploads);
        }
        let upload = self.upload(new.id).await?;
        self.ticket(admin, upload).await
    }

    /// A new link to the open upload of a book; without one, a new upload.
    ///
    /// # Errors
    /// As [`Self::begin_upload`].
    pub async fn upload_ticket(
        &self,
        admin: UserId,
        book: BookId,
        request: UploadRequest,
    ) -> Result<UploadTicket, ShopError> {
        self.managed(book).await?;
        match self.database().open_media_upload(book, AssetKind::Master, self.now()).await? {
            Some(upload) if upload.state == MediaUploadState::Open => self.ticket(admin, upload).await,
            _ => self.begin_upload(admin, book, request).await,
        }
    }

    /// The upload that a link names.
    ///
    /// # Errors
    /// `LinkInvalid` for a link that is not valid, or whose user is no admin any more. `UploadGone` when the upload has ended.
    pub async fn open_upload(&self, token: &str) -> Result<MediaUploadRecord, ShopError> {
        let link = self.0.accounts.verify_link::<UploadGrant>(LinkKind::Upload, token).await?;
        if link.user.role != Role::Admin {
            return Err(ShopError::LinkInvalid);
        }
        self.upload(link.grant.upload).await
    }

    /// An upload by its id.
    ///
    /// # Errors
    /// `UploadGone` when it has ended.
    pub async fn upload(&self, id: UploadId) -> Result<MediaUploadRecord, ShopError> {
        self.database().media_upload(id, self.now()).await?.ok_or(ShopError::UploadGone)
    }

    async fn ticket(&self, admin: UserId, upload: MediaUploadRecord) -> Result<UploadTicket, ShopError> {
        let grant = UploadGrant { upload: upload.id };
        let (token, expires_at) = self.0.accounts.sign_link(LinkKind::Upload, admin, &grant).await?;
        Ok(UploadTicket { upload, token, expires_at, max_bytes: self.max_upload() })
    }

    fn check_request(&self, request: UploadRequest) -> Result<UploadRequest, ShopError> {
        match request.length {
            Some(0) => return Err(ShopError::EmptyUpload),
            Some(length) if length > self.max_upload() => return Err(ShopError::UploadTooLarge(self.max_upload())),
            _ => {}
        }
        // An empty one is none: proto3 has no other way to say it.
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (file_name, content_type) = (given(request.file_name), given(request.content_type));
        if let Some(name) = &file_name {
            check_file_name(name)?;
        }
        if let Some(content_type) = &content_type {
            check_content_type(content_type)?;
        }
        Ok(UploadRequest { file_name, content_type, ..request })
    }
}

/// A media type is a short text without surprises; which one it is does not matter.
fn check_content_type(content_type: &str) -> Result<(), ShopError> {
    let printable = content_type.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if content_type.len() <= MAX_CONTENT_TYPE && printable {
        return Ok(());
    }
    let reason = format!("a media type has at most {MAX_CONTENT_TYPE} printable ASCII characters");
    Err(ShopError::invalid("content_type", reason))
}

/// A name of a file is no path.
fn check_file_name(name: &str) -> Result<(), ShopError> {
    let is_path = name.contains(['/', '\\']) || name == "." || name == "..";
    if name.len() > MAX_FILE_NAME || is_path || name.chars().any(char::is_control) {
        let reason = format!(
            "a file name has at most {MAX_FILE_NAME} bytes, no path and no control characters; send the name only"
        );
        return Err(ShopError::invalid("filename", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_file_name() {
        for valid in ["emma.mp3", "Émile – 1.m4b", "a..b.mp3", ".hidden"] {
            assert_eq!(check_file_name(valid), Ok(()), "{valid}");
        }
        for wrong in ["../emma.mp3", "/etc/passwd", "C:\\emma.mp3", "..", ".", "a\nb", "a\0b", &"x".repeat(256)] {
            assert_eq!(check_file_name(wrong).err().and_then(|error| error.field()), Some("filename"), "{wrong:?}");
        }
    }
}
