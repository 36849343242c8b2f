//! Where a listener stopped in a book.

use std::time::Duration;

use api_kit::error::ApiError;
use contracts::BookId;
use contracts::api::{PositionBody, PositionView};
use jiff::Timestamp;
use store::relational::Position;

use super::App;
use crate::Viewer;
use crate::error::refused;

impl App {
    /// Where the caller stopped in a book; the beginning, if it was never told.
    ///
    /// # Errors
    /// When the caller may not hear the book.
    pub async fn position(&self, viewer: &Viewer, book: BookId) -> Result<PositionView, ApiError> {
        let found = self.shop.position(&viewer.shop(), book).await.map_err(refused)?;
        Ok(found.map_or(PositionView { position_ms: 0, event_time: None }, view))
    }

    /// Tells where the caller is in a book. Of several devices the latest event counts, whichever arrives last.
    ///
    /// # Errors
    /// When the caller may not hear the book, or the position is beyond its end.
    pub async fn put_position(
        &self,
        viewer: &Viewer,
        book: BookId,
        PositionBody { position_ms, event_time }: PositionBody,
    ) -> Result<PositionView, ApiError> {
        let event_time = event_time.unwrap_or_else(Timestamp::now);
        let position = Position { at: Duration::from_millis(position_ms), event_time };
        Ok(view(self.shop.put_position(&viewer.shop(), book, position).await.map_err(refused)?))
    }
}

fn view(Position { at, event_time }: Position) -> PositionView {
    PositionView { position_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX), event_time: Some(event_time) }
}
