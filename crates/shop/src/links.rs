//! Links to files: a token that this service serves, or a presigned address of the media store.
//!
//! A link is made for a user who may read the file now. A token is checked again with each use: the signature without a query, then
//! whether the user is enabled and still has the book. A presigned address cannot be revoked: the price of the setting `direct`.

use accounts::{LinkKind, SecretText};
use contracts::{AssetKind, BookId, BookStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::relational::{AssetRecord, Role, UserRecord};

use crate::catalogue::NO_BOOK;
use crate::{MediaLinks, Opened, Shop, ShopError, Viewer};

/// A link to a file. Both kinds are secrets.
#[derive(Debug, Clone)]
pub enum Link {
    /// The token of an address of this service.
    Token {
        /// The token.
        token: SecretText,
        /// The end of its validity.
        expires_at: Timestamp,
    },
    /// An address of the media store itself.
    Direct {
        /// The address.
        url: SecretText,
        /// The end of its validity.
        expires_at: Timestamp,
    },
}

/// What the token of a link allows.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct MediaGrant {
    book: BookId,
    asset: AssetKind,
}

impl Shop {
    /// A link to a file of a book: to the whole book for its buyers and for admins, to the preview and the cover for everybody who sees the
    /// book.
    ///
    /// # Errors
    /// `NotBought` for a book that the viewer sees and has not bought, `NotFound` for any other. `NoUser` when the viewer is no user, and the
    /// link would be a token.
    pub async fn link(&self, viewer: &Viewer, book: BookId, asset: AssetKind) -> Result<Link, ShopError> {
        let file = self.readable(viewer, book, asset).await?;
        if self.media_links() == MediaLinks::Direct {
            let life = LinkKind::Media.life();
            if let Some(url) = self.media().link(&file.key, None, &file.file_name, life).await? {
                return Ok(Link::Direct { url: SecretText::new(url), expires_at: self.now() + life });
            }
        }
        let user = self.acting_user(viewer).await?;
        let (token, expires_at) = self.0.accounts.sign_link(LinkKind::Media, user, &MediaGrant { book, asset }).await?;
        Ok(Link::Token { token, expires_at })
    }

    /// The file that the token of a link names.
    ///
    /// # Errors
    /// `LinkInvalid` for a token that is forged, expired or revoked, whatever the reason.
    pub async fn open_link(&self, token: &str) -> Result<Opened, ShopError> {
        let link = self.0.accounts.verify_link::<MediaGrant>(LinkKind::Media, token).await?;
        let MediaGrant { book, asset } = link.grant;
        let viewer = viewer_of(&link.user);
        // One question, for most reads: the book itself need not be known.
        let file = if asset == AssetKind::Master && !viewer.admin {
            if !self.database().link_alive(link.user.id, book).await? {
                return Err(ShopError::LinkInvalid);
            }
            self.file(book, asset).await
        } else {
            self.readable(&viewer, book, asset).await
        };
        match file {
            Ok(file) => Ok(Opened::new(self.media(), file, viewer)),
            Err(ShopError::NotFound(_) | ShopError::NotBought) => Err(ShopError::LinkInvalid),
            Err(error) => Err(error),
        }
    }

    /// A file of a book, for a viewer whose credential was verified.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub async fn open_asset(&self, viewer: &Viewer, book: BookId, asset: AssetKind) -> Result<Opened, ShopError> {
        let file = self.readable(viewer, book, asset).await?;
        Ok(Opened::new(self.media(), file, *viewer))
    }

    /// Whether an opened file may still be read: ask it about once a second while its bytes are sent. The end of the link itself does not
    /// count any more.
    ///
    /// # Errors
    /// `LinkInvalid` when it may not.
    pub async fn still_allowed(&self, opened: &Opened) -> Result<(), ShopError> {
        // The operator's own token.
        let Some(user) = opened.user() else { return Ok(()) };
        if opened.asset == AssetKind::Master && self.database().link_alive(user, opened.book).await? {
            return Ok(());
        }
        let user = self.database().user(user).await?.filter(|user| !user.disabled).ok_or(ShopError::LinkInvalid)?;
        if opened.asset != AssetKind::Master || user.role == Role::Admin { Ok(()) } else { Err(ShopError::LinkInvalid) }
    }

    /// A file of a book that the viewer may read.
    async fn readable(&self, viewer: &Viewer, id: BookId, asset: AssetKind) -> Result<AssetRecord, ShopError> {
        let book = self.database().book(id).await?.ok_or(NO_BOOK)?;
        let for_sale = book.status == BookStatus::Ready;
        let public = asset != AssetKind::Master && for_sale;
        if !viewer.admin && !public && !self.owns(viewer, id).await? {
            return Err(if for_sale { ShopError::NotBought } else { NO_BOOK });
        }
        self.file(id, asset).await
    }

    async fn file(&self, book: BookId, asset: AssetKind) -> Result<AssetRecord, ShopError> {
        let missing = match asset {
            AssetKind::Master => "audio file of the book",
            AssetKind::Preview => "preview of the book",
            AssetKind::Cover => "cover of the book",
        };
        self.database().asset(book, asset).await?.ok_or(ShopError::NotFound(missing))
    }
}

/// The viewer that a link was made for, with its role of now.
fn viewer_of(user: &UserRecord) -> Viewer {
    Viewer { user: Some(user.id), admin: user.role == Role::Admin }
}
