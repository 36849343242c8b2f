//! What users have bought.

use std::collections::BTreeSet;

use contracts::{BookId, Money, OrderId, UserId};
use jiff::Timestamp;

use super::book_records::{BookRecord, book_columns};
use super::{book_id, cursor_at, order_id, page_limit, required_money};
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, cursor_position, values};
use crate::{PageCursor, StoreError};

/// Whether a user has bought a book.
const ENTITLED: &str =
    "SELECT book_id FROM entitlements WHERE user_id = $1 AND book_id = $2 AND revoked_at IS NULL LIMIT 1";
/// Which of some books a user has bought.
const ENTITLED_TO: &str = "SELECT book_id FROM entitlements WHERE user_id = $1 AND revoked_at IS NULL AND book_id \
                           IN ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";

/// A book that a user has bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchaseRecord {
    /// The order.
    pub order: OrderId,
    /// The book, also if it is hidden or deleted.
    pub book: BookRecord,
    /// What it cost.
    pub price: Money,
    /// When it was paid.
    pub purchased_at: Timestamp,
}

impl PurchaseRecord {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            order: order_id(row)?,
            book: BookRecord::read(row)?,
            price: required_money(row, "paid_minor", "paid_currency")?,
            purchased_at: row.get("bought_at")?,
        })
    }

    /// The cursor after this purchase in the list of its user.
    pub fn cursor(&self) -> PageCursor {
        cursor_at(self.purchased_at, self.book.id.uuid())
    }
}

impl Relational {
    /// Whether a user has bought a book.
    pub async fn entitled(&self, user: UserId, book: BookId) -> Result<bool, StoreError> {
        Ok(self.row(ENTITLED, values![user, book]).await?.is_some())
    }

    /// Which of these books a user has bought, of at most [`MAX_SHOP_PAGE`](super::MAX_SHOP_PAGE).
    pub async fn entitled_to(&self, user: UserId, books: &[BookId]) -> Result<BTreeSet<BookId>, StoreError> {
        let books = &books[..books.len().min(super::MAX_SHOP_PAGE as usize)];
        self.shop_rows_by_ids(ENTITLED_TO, values![user], books).await?.iter().map(book_id).collect()
    }

    /// Whether a user still has a book, and is not disabled.
    pub async fn link_alive(&self, user: UserId, book: BookId) -> Result<bool, StoreError> {
        let sql = "SELECT e.book_id FROM entitlements e JOIN users ON users.id = e.user_id \
                   WHERE e.user_id = $1 AND e.book_id = $2 AND e.revoked_at IS NULL AND users.disabled = $3";
        Ok(self.row(sql, values![user, book, false]).await?.is_some())
    }

    /// What a user has bought, newest first, after a cursor; at most [`MAX_SHOP_PAGE`](super::MAX_SHOP_PAGE).
    pub async fn purchases(
        &self,
        user: UserId,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<PurchaseRecord>, StoreError> {
        let (at, id) = cursor_position(after);
        let sql = concat!(
            "SELECT ",
            book_columns!(),
            ", e.order_id, e.bought_at, l.price_minor AS paid_minor, o.currency AS paid_currency",
            " FROM entitlements e JOIN books ON books.id = e.book_id JOIN orders o ON o.id = e.order_id",
            " JOIN order_lines l ON l.order_id = e.order_id AND l.book_id = e.book_id",
            " WHERE e.user_id = $1 AND e.revoked_at IS NULL AND (e.bought_at, e.book_id) < ($2, $3)",
            " ORDER BY e.bought_at DESC, e.book_id DESC LIMIT $4"
        );
        let rows = self.rows(sql, values![user, at, id, page_limit(limit)]).await?;
        rows.iter().map(PurchaseRecord::read).collect()
    }
}

impl Transaction {
    /// Whether a user has bought a book.
    pub(super) async fn is_entitled(&mut self, user: UserId, book: BookId) -> Result<bool, StoreError> {
        Ok(self.row(ENTITLED, values![user, book]).await?.is_some())
    }

    /// The books in the cart of a user that the user has bought.
    pub(super) async fn owned_in_cart(&mut self, user: UserId) -> Result<Vec<BookId>, StoreError> {
        let sql = "SELECT l.book_id FROM cart_lines l JOIN entitlements e ON e.user_id = l.user_id \
                   AND e.book_id = l.book_id WHERE l.user_id = $1 AND e.revoked_at IS NULL ORDER BY l.book_id";
        self.rows(sql, values![user]).await?.iter().map(book_id).collect()
    }
}
