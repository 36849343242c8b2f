//! A file that somebody may read.

use std::fmt::Write;
use std::ops::Range;
use std::sync::Arc;

use contracts::{AssetKind, BookId, UserId};
use jiff::Timestamp;
use store::relational::AssetRecord;
use store::{Media, MediaKey, MediaStream};

use crate::{ShopError, Viewer};

/// A file that its viewer may read, and what a client is told of it.
#[derive(Clone)]
pub struct Opened {
    /// The book.
    pub book: BookId,
    /// Which of its files it is.
    pub asset: AssetKind,
    /// Its length.
    pub bytes: u64,
    /// Its strong entity tag (RFC 9110), in quotation marks: the hash of its bytes.
    pub etag: String,
    /// Its media type, as its bytes have it.
    pub content_type: String,
    /// The name under which it is saved: no path, no control characters, the right extension.
    pub file_name: String,
    /// When it was stored.
    pub updated_at: Timestamp,
    user: Option<UserId>,
    key: MediaKey,
    media: Arc<dyn Media>,
}

impl Opened {
    pub(crate) fn new(media: &Arc<dyn Media>, file: AssetRecord, viewer: Viewer) -> Self {
        Self {
            book: file.book,
            asset: file.kind,
            bytes: file.bytes,
            etag: etag(&file.sha256),
            content_type: file.content_type,
            file_name: file.file_name,
            updated_at: file.stored_at,
            user: viewer.user,
            key: file.key,
            media: Arc::clone(media),
        }
    }

    /// Who reads it; `None` for the operator's own token.
    pub const fn user(&self) -> Option<UserId> {
        self.user
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// `Unavailable` when the media store cannot be read, `Internal` when it has lost the file.
    pub async fn read(&self, range: Range<u64>) -> Result<MediaStream, ShopError> {
        let stream = self.media.read(&self.key, range).await?;
        stream.ok_or_else(|| {
            ShopError::Internal(format!("the {} of the book {} is not in the media store", self.asset, self.book))
        })
    }
}

/// A hash as an entity tag.
fn etag(sha256: &[u8; 32]) -> String {
    let mut etag = String::with_capacity(66);
    etag.push('"');
    for byte in sha256 {
        // Writing to a text cannot fail.
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    etag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_strong_and_in_quotation_marks() {
        let mut hash = [0; 32];
        (hash[0], hash[31]) = (0x0a, 0xff);
        let etag = etag(&hash);
        assert_eq!((etag.len(), &etag[..4], &etag[63..]), (66, "\"0a0", "ff\""));
    }
}
