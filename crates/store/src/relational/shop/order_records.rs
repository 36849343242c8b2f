//! Orders as the database stores them.

use std::collections::BTreeMap;

use contracts::{BookId, Money, OrderId, OrderStatus, UserId};
use jiff::Timestamp;

use super::{book_id, cursor_at, named, order_id, required_money};
use crate::relational::values::Row;
use crate::{PageCursor, StoreError};

/// A book in an order, as it was when the order was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// The book.
    pub book: BookId,
    /// Its title.
    pub title: String,
    /// Its price.
    pub price: Money,
}

impl OrderLine {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let price = required_money(row, "price_minor", "currency")?;
        Ok(Self { book: book_id(row)?, title: row.get("title")?, price })
    }
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRecord {
    /// The id.
    pub id: OrderId,
    /// Who buys.
    pub user: UserId,
    /// Where it is.
    pub status: OrderStatus,
    /// Why it was declined.
    pub why: Option<String>,
    /// What it costs.
    pub total: Money,
    /// Its books.
    pub lines: Vec<OrderLine>,
    /// The version of the cart that it was made of.
    pub cart_version: i64,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// Payment provider, and its name of the payment.
    pub payment: Option<(String, String)>,
    /// When the money was paid back.
    pub refunded_at: Option<Timestamp>,
}

/// The columns of an order, with its payment and its refund, in every statement that reads one.
macro_rules! order_columns {
    () => {
        "o.id AS order_id, o.user_id, o.status AS order_status, o.why, o.total_minor, o.currency, o.cart_version, \
         o.created_at, p.paid_at, p.provider, p.reference, r.ended_at AS refunded_at"
    };
}
pub(super) use order_columns;

/// Orders with their payments and their refunds.
macro_rules! order_tables {
    () => {
        "orders o LEFT JOIN payments p ON p.order_id = o.id LEFT JOIN refunds r ON r.order_id = o.id"
    };
}
pub(super) use order_tables;

/// Reads the lines of orders by [`Relational::shop_rows_by_ids`](crate::Relational).
pub(super) const LINES_OF: &str = "SELECT l.order_id, l.book_id, l.title, l.price_minor, o.currency FROM order_lines l \
                                   JOIN orders o ON o.id = l.order_id WHERE l.order_id \
                                   IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
                                   ORDER BY l.order_id, l.position";
/// Reads the lines of one order.
pub(super) const LINES: &str = "SELECT l.order_id, l.book_id, l.title, l.price_minor, o.currency FROM order_lines l \
                                JOIN orders o ON o.id = l.order_id WHERE l.order_id = $1 ORDER BY l.position";

impl OrderRecord {
    /// An order with these lines.
    pub(super) fn read(row: &Row, lines: Vec<OrderLine>) -> Result<Self, StoreError> {
        Ok(Self {
            id: order_id(row)?,
            user: UserId::from_uuid(row.get("user_id")?),
            status: named(row, "order_status")?,
            why: row.get("why")?,
            total: required_money(row, "total_minor", "currency")?,
            lines,
            cart_version: row.get("cart_version")?,
            created_at: row.get("created_at")?,
            paid_at: row.get("paid_at")?,
            payment: payment(row)?,
            refunded_at: row.get("refunded_at")?,
        })
    }

    /// The cursor after this order in the list of its user.
    pub fn cursor(&self) -> PageCursor {
        cursor_at(self.created_at, self.id.uuid())
    }
}

/// Provider and reference.
pub(super) fn payment(row: &Row) -> Result<Option<(String, String)>, StoreError> {
    let (provider, reference): (Option<String>, Option<String>) = (row.get("provider")?, row.get("reference")?);
    Ok(provider.zip(reference))
}

/// Lines in their order.
pub(super) fn lines(rows: &[Row]) -> Result<Vec<OrderLine>, StoreError> {
    rows.iter().map(OrderLine::read).collect()
}

/// Lines by their orders.
pub(super) fn lines_by_order(rows: &[Row]) -> Result<BTreeMap<OrderId, Vec<OrderLine>>, StoreError> {
    let mut found: BTreeMap<OrderId, Vec<OrderLine>> = BTreeMap::new();
    for row in rows {
        found.entry(order_id(row)?).or_default().push(OrderLine::read(row)?);
    }
    Ok(found)
}

/// A payment of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentRecord {
    /// Name of the payment provider.
    pub provider: String,
    /// Its name of the payment. Each one is of one order.
    pub reference: String,
    /// What was paid.
    pub amount: Money,
    /// When it was paid.
    pub paid_at: Timestamp,
}
