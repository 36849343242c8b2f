//! Pictures of books.

use accounts::Actor;
use bytes::Bytes;
use contracts::{AssetKind, BookId};
use sha2::{Digest, Sha256};
use store::MediaKey;
use store::relational::{AssetRecord, AssetWriteOutcome};

use crate::catalogue::for_admin;
use crate::{Book, Shop, ShopError};

/// Longest picture, in bytes.
pub const MAX_COVER: usize = 5 << 20;

impl Shop {
    /// Stores the picture of a book, instead of an earlier one. Its type is that of its first bytes, whatever a client says.
    ///
    /// # Errors
    /// `NotAnImage`, `CoverTooLarge`.
    pub async fn set_cover(&self, id: BookId, content: Bytes, actor: &Actor) -> Result<Book, ShopError> {
        self.managed(id).await?;
        let (content_type, extension) = picture(&content)?;
        let asset = AssetRecord {
            book: id,
            kind: AssetKind::Cover,
            key: MediaKey::new(id, AssetKind::Cover),
            bytes: content.len() as u64,
            sha256: Sha256::digest(&content).into(),
            content_type: content_type.to_owned(),
            file_name: format!("cover.{extension}"),
            duration: None,
            stored_at: self.now(),
        };
        self.store_asset(&asset, content).await?;
        tracing::info!(book.id = %id, actor = ?actor.user, "the cover of a book was stored");
        Ok(for_admin(self.managed(id).await?))
    }

    /// Removes the picture of a book. Without one, nothing happens.
    ///
    /// # Errors
    /// `NotFound` without such a book.
    pub async fn remove_cover(&self, id: BookId, actor: &Actor) -> Result<Book, ShopError> {
        self.managed(id).await?;
        if self.database().remove_asset(id, AssetKind::Cover, self.now()).await?.is_some() {
            tracing::info!(book.id = %id, actor = ?actor.user, "the cover of a book was removed");
        }
        Ok(for_admin(self.managed(id).await?))
    }

    /// Stores a small file of a book. A crash in between leaves nothing: the key is noted for deletion before the object is written.
    pub(crate) async fn store_asset(&self, asset: &AssetRecord, content: Bytes) -> Result<(), ShopError> {
        self.database().forget_media(std::slice::from_ref(&asset.key), self.now()).await?;
        self.media().put(&asset.key, &asset.content_type, content).await?;
        match self.database().put_asset(asset, self.now()).await? {
            AssetWriteOutcome::Stored { .. } => Ok(()),
            AssetWriteOutcome::UnknownBook => Err(ShopError::BookDeleted),
        }
    }
}

/// Media type and extension of a picture.
fn picture(content: &[u8]) -> Result<(&'static str, &'static str), ShopError> {
    if content.len() > MAX_COVER {
        return Err(ShopError::CoverTooLarge(MAX_COVER));
    }
    match content {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(("image/png", "png")),
        [0xff, 0xd8, 0xff, ..] => Ok(("image/jpeg", "jpg")),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(("image/webp", "webp")),
        _ => Err(ShopError::NotAnImage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_by_its_first_bytes() {
        assert_eq!(picture(b"\x89PNG\r\n\x1a\nrest"), Ok(("image/png", "png")));
        assert_eq!(picture(b"\xff\xd8\xff\xe0"), Ok(("image/jpeg", "jpg")));
        assert_eq!(picture(b"RIFF\0\0\0\0WEBPVP8 "), Ok(("image/webp", "webp")));
        for other in [&b""[..], b"<svg onload=alert(1)>", b"GIF89a", b"RIFF\0\0\0\0WAVE"] {
            assert_eq!(picture(other), Err(ShopError::NotAnImage));
        }
        let long = [b"\xff\xd8\xff".as_slice(), &vec![0; MAX_COVER]].concat();
        assert_eq!(picture(&long), Err(ShopError::CoverTooLarge(MAX_COVER)));
    }
}
