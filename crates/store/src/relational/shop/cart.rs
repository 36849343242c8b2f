//! Carts: the books that a user is about to buy, with the prices that the user has seen.

use contracts::{BookId, Currency, Money, UserId, whole_microseconds};
use jiff::Timestamp;

use super::book_records::{BookRecord, book_columns};
use super::{minor_and_code, money};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

/// Maximum number of books in a cart, and so in an order.
pub const MAX_CART_LINES: usize = 100;

/// A book in a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CartLine {
    /// The book, with its price and its status now.
    pub book: BookRecord,
    /// The price that the user has seen.
    pub price_seen: Option<Money>,
    /// When it was put into the cart.
    pub added_at: Timestamp,
}

impl CartLine {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let price_seen = money(row, "seen_minor", "seen_currency")?;
        Ok(Self { book: BookRecord::read(row)?, price_seen, added_at: row.get("added_at")? })
    }
}

/// A cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CartRecord {
    /// Its books, in the order in which they were put into it.
    pub lines: Vec<CartLine>,
    /// One more with each change of the lines; 0 if there never was a line.
    pub version: i64,
}

impl CartRecord {
    /// The sum of the prices now. `None` if it is empty, has a book without a price, or has two currencies.
    pub fn total(&self) -> Option<Money> {
        sum(self.lines.iter().map(|line| line.book.price))
    }

    /// The sum of the prices that the user has seen.
    pub(super) fn total_seen(&self) -> Option<Money> {
        sum(self.lines.iter().map(|line| line.price_seen))
    }
}

fn sum(prices: impl Iterator<Item = Option<Money>>) -> Option<Money> {
    let mut total: Option<Money> = None;
    for price in prices {
        total = Some(match total {
            Some(total) => total.checked_add(price?)?,
            None => price?,
        });
    }
    total
}

/// The outcome of putting a book into a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CartOutcome {
    /// It is in the cart.
    Stored(CartRecord),
    /// The user is disabled or deleted.
    NoUser,
    /// There is no such book, or it is not for sale.
    NotForSale,
    /// The user has bought it.
    Owned,
    /// The cart has books of this other currency.
    MixedCurrency(Currency),
    /// The cart has [`MAX_CART_LINES`].
    Full,
}

impl Relational {
    /// The cart of a user.
    pub async fn cart(&self, user: UserId) -> Result<CartRecord, StoreError> {
        self.begin_snapshot().await?.cart(user).await
    }

    /// Records that the user has seen the prices in this record.
    pub async fn cart_seen(&self, user: UserId, shown: &CartRecord) -> Result<(), StoreError> {
        if shown.lines.iter().all(|line| line.price_seen == line.book.price) {
            return Ok(());
        }
        let mut transaction = self.begin().await?;
        if transaction.lock_user(user).await? {
            transaction.see_prices(user, shown).await?;
        }
        transaction.commit().await
    }

    /// Puts a book into the cart of a user. Again: the same cart.
    pub async fn put_cart_line(&self, user: UserId, book: BookId, now: Timestamp) -> Result<CartOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        if !transaction.lock_active_user(user).await? {
            return Ok(CartOutcome::NoUser);
        }
        let found = transaction.book(book).await?;
        let Some(price) = found.and_then(|book| book.price_if_for_sale()) else { return Ok(CartOutcome::NotForSale) };
        if transaction.is_entitled(user, book).await? {
            return Ok(CartOutcome::Owned);
        }
        let cart = transaction.cart(user).await?;
        let is_there = cart.lines.iter().any(|line| line.book.id == book);
        let others = cart.lines.iter().filter(|line| line.book.id != book).filter_map(|line| line.book.price);
        if let Some(other) = others.map(|price| price.currency).find(|currency| *currency != price.currency) {
            return Ok(CartOutcome::MixedCurrency(other));
        }
        if !is_there && cart.lines.len() >= MAX_CART_LINES {
            return Ok(CartOutcome::Full);
        }
        let sql = "INSERT INTO cart_lines (user_id, book_id, price_minor, currency, added_at) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT (user_id, book_id) DO UPDATE SET price_minor = excluded.price_minor, \
                   currency = excluded.currency";
        let now = whole_microseconds(now);
        transaction.execute(sql, values![user, book, price.minor, price.currency.code(), now]).await?;
        if !is_there {
            transaction.cart_changed(user).await?;
        }
        let cart = transaction.cart(user).await?;
        transaction.commit().await?;
        Ok(CartOutcome::Stored(cart))
    }

    /// Takes a book out of the cart of a user. Again: the same cart.
    pub async fn remove_cart_line(&self, user: UserId, book: BookId) -> Result<CartRecord, StoreError> {
        let mut transaction = self.begin().await?;
        if transaction.lock_user(user).await? {
            let sql = "DELETE FROM cart_lines WHERE user_id = $1 AND book_id = $2";
            if transaction.execute(sql, values![user, book]).await? == 1 {
                transaction.cart_changed(user).await?;
            }
        }
        let cart = transaction.cart(user).await?;
        transaction.commit().await?;
        Ok(cart)
    }
}

impl Transaction {
    pub(super) async fn cart(&mut self, user: UserId) -> Result<CartRecord, StoreError> {
        let sql = concat!(
            "SELECT ",
            book_columns!(),
            ", l.price_minor AS seen_minor, l.currency AS seen_currency, l.added_at",
            " FROM cart_lines l JOIN books ON books.id = l.book_id WHERE l.user_id = $1",
            " ORDER BY l.added_at, books.number LIMIT $2"
        );
        let lines = self.rows(sql, values![user, MAX_CART_LINES as i64]).await?;
        let lines = lines.iter().map(CartLine::read).collect::<Result<_, _>>()?;
        let version = self.row("SELECT version FROM carts WHERE user_id = $1", values![user]).await?;
        Ok(CartRecord { lines, version: version.map_or(Ok(0), |row| row.get("version"))? })
    }

    /// Gives the cart of a locked user its next version.
    pub(super) async fn cart_changed(&mut self, user: UserId) -> Result<(), StoreError> {
        let sql = "INSERT INTO carts (user_id, version) VALUES ($1, 1) \
                   ON CONFLICT (user_id) DO UPDATE SET version = carts.version + 1";
        self.execute(sql, values![user]).await.map(drop)
    }

    /// Records that a locked user has seen these prices.
    pub(super) async fn see_prices(&mut self, user: UserId, shown: &CartRecord) -> Result<(), StoreError> {
        for line in shown.lines.iter().filter(|line| line.price_seen != line.book.price) {
            let (minor, code) = minor_and_code(line.book.price);
            let sql = "UPDATE cart_lines SET price_minor = $3, currency = $4 WHERE user_id = $1 AND book_id = $2";
            self.execute(sql, values![user, line.book.id, minor, code]).await?;
        }
        Ok(())
    }
}
