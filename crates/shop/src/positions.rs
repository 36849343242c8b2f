//! Where a listener stopped. The later *event* of two devices wins, in whatever order they arrive.

use std::time::Duration;

use contracts::{BookId, UserId};
use jiff::Timestamp;
use store::relational::Position;

use crate::catalogue::NO_BOOK;
use crate::{Shop, ShopError, Viewer};

/// Longest position in a book whose duration is not known.
const MAX_POSITION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Shop {
    /// Where the viewer stopped in a book; `None` before the first time.
    ///
    /// # Errors
    /// `NotBought` for a book that it has not bought.
    pub async fn position(&self, viewer: &Viewer, book: BookId) -> Result<Option<Position>, ShopError> {
        let (user, _) = self.listener(viewer, book).await?;
        Ok(self.database().position(user, book).await?)
    }

    /// Records where the viewer stopped. Returns the position in force, which is another one when a later event is known. A time in the
    /// future counts as now, one before 1970 as the beginning of 1970, and a position after the end as the end.
    ///
    /// # Errors
    /// `NotBought` for a book that it has not bought.
    pub async fn put_position(&self, viewer: &Viewer, book: BookId, position: Position) -> Result<Position, ShopError> {
        let (user, duration) = self.listener(viewer, book).await?;
        // Not every database has the years of long ago that a client may send.
        let event_time = position.event_time.min(self.now()).max(Timestamp::UNIX_EPOCH);
        let position = Position { at: position.at.min(duration), event_time };
        self.database().put_position(user, book, &position).await?.ok_or(NO_BOOK)
    }

    /// The user who listens to a book, and the book's end.
    async fn listener(&self, viewer: &Viewer, id: BookId) -> Result<(UserId, Duration), ShopError> {
        let user = viewer.user.ok_or(ShopError::NoUser)?;
        let book = self.book(viewer, id).await?;
        if !book.owned && !viewer.admin {
            return Err(ShopError::NotBought);
        }
        Ok((user, book.duration.unwrap_or(MAX_POSITION)))
    }
}
