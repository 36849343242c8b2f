//! The shop: books with their files, carts, orders, and what users have bought. `shop` makes the decisions about prices, payments and who
//! sees what.
//!
//! Guarantees, on either database and from several processes:
//! - Each call that writes is one transaction, with its entry of the audit log.
//! - A user has at most one pending order, and a key of a user names one order.
//! - An order is paid once, with one payment, and gives one entitlement a book. Its prices are those of the moment when it was opened.
//! - When [`Relational::begin_refund`] returns, the user has none of the order's books any more, but for those of another paid order.
//! - The key of an object in the media store that no book has is in `media_to_delete` from the moment when it has none.
//! - A deleted user leaves orders without a name ([`KeptOrderRecord`]), and nothing else.
//!
//! Locks are taken in one order: the user, then its cart, its orders, books. What concerns one user waits for that user's lock.

mod assets;
mod book_records;
mod book_work;
mod books;
mod cart;
mod catalogue;
mod categories;
mod descriptions;
mod kept_orders;
mod mock_payments;
mod order_records;
mod orders;
mod positions;
mod purchases;
mod refunds;
mod settle;
#[cfg(test)]
pub(super) mod tests;
mod words;

use std::time::Duration;

use contracts::{BookId, Currency, CurrencyError, Money, OrderId};
use jiff::Timestamp;
use uuid::Uuid;

use super::database::Relational;
use super::values::{Row, Value, unreadable};
use crate::{PageCursor, StoreError};

pub use assets::{AssetRecord, AssetWriteOutcome};
pub use book_records::{BookChange, BookRecord, BookWriteOutcome, MAX_CATEGORIES_OF_BOOK, NewBook};
pub use cart::{CartLine, CartOutcome, CartRecord, MAX_CART_LINES};
pub use catalogue::BookFilter;
pub use categories::{CategoryRecord, MAX_CATEGORIES};
pub use descriptions::{BookDescription, DescribedCategory, Description};
pub use kept_orders::KeptOrderRecord;
pub use mock_payments::{MockPaymentRecord, MockPaymentState};
pub use order_records::{OrderLine, OrderRecord, PaymentRecord};
pub use orders::{NewOrder, OpenOrderOutcome};
pub use positions::Position;
pub use purchases::PurchaseRecord;
pub use refunds::RefundOutcome;
pub use settle::SettleOutcome;

/// Maximum number of items that a list of the shop returns at once.
pub const MAX_SHOP_PAGE: u32 = 200;

/// The limit of a statement that reads a page.
fn page_limit(limit: u32) -> i64 {
    i64::from(limit.min(MAX_SHOP_PAGE))
}

/// The cursor after an item of a list that is ordered by time, then id.
fn cursor_at(at: Timestamp, id: Uuid) -> PageCursor {
    PageCursor { at, id: id.to_string() }
}

/// The two columns of an amount.
fn minor_and_code(money: Option<Money>) -> (Option<i64>, Option<&'static str>) {
    (money.map(|money| money.minor), money.map(|money| money.currency.code()))
}

/// The amount in two columns; `None` if they are empty.
fn money(row: &Row, minor: &str, currency: &str) -> Result<Option<Money>, StoreError> {
    let Some(minor) = row.get::<Option<i64>>(minor)? else { return Ok(None) };
    let code: String = row.get(currency)?;
    Ok(Some(Money { minor, currency: currency_of(&code)? }))
}

/// The amount in two columns that are never empty.
fn required_money(row: &Row, minor: &str, currency: &str) -> Result<Money, StoreError> {
    let code: String = row.get(currency)?;
    Ok(Money { minor: row.get(minor)?, currency: currency_of(&code)? })
}

fn currency_of(code: &str) -> Result<Currency, StoreError> {
    code.parse().map_err(|error: CurrencyError| unreadable("currency", &error))
}

/// A value with a name, such as a status.
fn named<T: std::str::FromStr<Err = String>>(row: &Row, column: &str) -> Result<T, StoreError> {
    row.get::<String>(column)?.parse().map_err(|error: String| unreadable(column, &error))
}

fn book_id(row: &Row) -> Result<BookId, StoreError> {
    Ok(BookId::from_uuid(row.get("book_id")?))
}

fn order_id(row: &Row) -> Result<OrderId, StoreError> {
    Ok(OrderId::from_uuid(row.get("order_id")?))
}

/// Whole milliseconds, as they are stored.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}

/// Ids of books or orders that one statement reads.
const IDS_AT_ONCE: usize = 16;

impl Relational {
    /// The rows of a statement that has a list of 16 ids after the `first` arguments, for any number of ids.
    async fn shop_rows_by_ids<T>(&self, sql: &'static str, first: Vec<Value>, ids: &[T]) -> Result<Vec<Row>, StoreError>
    where
        T: Copy,
        Value: From<T>,
    {
        // As for subjects: the two databases have no common form of a list.
        let mut rows = Vec::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            let mut values = first.clone();
            // A repeated id fills the rest, so that there is one statement, and the database knows its plan.
            values.extend((0..IDS_AT_ONCE).map(|index| Value::from(ids[index.min(ids.len() - 1)])));
            rows.extend(self.rows(sql, values).await?);
        }
        Ok(rows)
    }
}
