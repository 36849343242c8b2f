//! Where listeners stopped. Of several devices the one that played last counts, not the one whose message came last.

use std::time::Duration;

use contracts::{BookId, UserId, whole_microseconds};
use jiff::Timestamp;

use super::{duration, millis};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::values::{Row, values};

/// Where a listener stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From the beginning of the book.
    pub at: Duration,
    /// When that was.
    pub event_time: Timestamp,
}

impl Position {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { at: duration(row.get("at_ms")?), event_time: row.get("event_time")? })
    }
}

impl Relational {
    /// Where a user stopped in a book.
    pub async fn position(&self, user: UserId, book: BookId) -> Result<Option<Position>, StoreError> {
        let sql = "SELECT at_ms, event_time FROM positions WHERE user_id = $1 AND book_id = $2";
        self.row(sql, values![user, book]).await?.as_ref().map(Position::read).transpose()
    }

    /// Records where a user stopped, unless a later position is known. Returns the one that counts; `None` without such a user or book.
    pub async fn put_position(
        &self,
        user: UserId,
        book: BookId,
        position: &Position,
    ) -> Result<Option<Position>, StoreError> {
        let sql = "INSERT INTO positions (user_id, book_id, at_ms, event_time) \
                   SELECT users.id, books.id, $3, $4 FROM users CROSS JOIN books WHERE users.id = $1 AND books.id = $2 \
                   ON CONFLICT (user_id, book_id) DO UPDATE SET at_ms = excluded.at_ms, \
                   event_time = excluded.event_time WHERE positions.event_time < excluded.event_time";
        let event_time = whole_microseconds(position.event_time);
        self.execute(sql, values![user, book, millis(position.at), event_time]).await?;
        self.position(user, book).await
    }
}
