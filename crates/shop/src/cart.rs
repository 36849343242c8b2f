//! The cart of a user: at most one line a book, of one currency.
//!
//! Prices are today's. Each line remembers the price that the user saw last, so that a checkout at another price is refused with the new
//! total instead of charging it.

use contracts::{BookId, BookStatus, Money, UserId};
use store::relational::{CartOutcome, CartRecord, MAX_CART_LINES};

use crate::catalogue::NO_BOOK;
use crate::{Book, Shop, ShopError, money};

/// A cart, as its user sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cart {
    /// Its lines, the oldest first.
    pub lines: Vec<CartLine>,
    /// The sum of the lines that can be bought; `None` without any.
    pub total: Option<Money>,
    /// Grows with each change of the lines.
    pub version: i64,
}

/// A book in a cart.
#[derive(Debug, Clone, PartialEq)]
pub struct CartLine {
    /// The book; without price, description and categories when it is no longer for sale.
    pub book: Book,
    /// Today's price; `None` when the book can no longer be bought: the line must be removed before a checkout.
    pub price: Option<Money>,
    /// The price that the user saw before, if it was another one.
    pub price_before: Option<Money>,
}

impl Cart {
    fn of(record: CartRecord) -> Self {
        let lines: Vec<CartLine> = record.lines.into_iter().map(CartLine::of).collect();
        let total = money::total(lines.iter().filter_map(|line| line.price));
        Self { lines, total, version: record.version }
    }
}

impl CartLine {
    fn of(line: store::relational::CartLine) -> Self {
        let price = line.book.price.filter(|_| line.book.status == BookStatus::Ready);
        let price_before = line.price_seen.filter(|seen| price.is_some_and(|price| price != *seen));
        let mut record = line.book;
        if record.status != BookStatus::Ready {
            // Its user must know which line to remove. What was written into the book since is not for users.
            record.price = None;
            record.description = None;
            record.categories.clear();
        }
        Self { book: Book { record, owned: false }, price, price_before }
    }
}

impl Shop {
    /// The cart at today's prices, which the user has seen from now on.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn cart(&self, user: UserId) -> Result<Cart, ShopError> {
        let record = self.database().cart(user).await?;
        if record.lines.iter().any(|line| line.price_seen != line.book.price) {
            self.database().cart_seen(user, &record).await?;
        }
        Ok(Cart::of(record))
    }

    /// Puts a book into the cart. Again: the same cart.
    ///
    /// # Errors
    /// `NotFound` for a book that is not for sale, `AlreadyOwned`, `MixedCurrency`, `CartFull`.
    pub async fn add_to_cart(&self, user: UserId, book: BookId) -> Result<Cart, ShopError> {
        match self.database().put_cart_line(user, book, self.now()).await? {
            CartOutcome::Stored(record) => Ok(Cart::of(record)),
            CartOutcome::NoUser => Err(ShopError::NoUser),
            CartOutcome::NotForSale => Err(NO_BOOK),
            CartOutcome::Owned => Err(ShopError::AlreadyOwned(vec![book])),
            CartOutcome::MixedCurrency(_) => Err(ShopError::MixedCurrency),
            CartOutcome::Full => Err(ShopError::CartFull(MAX_CART_LINES)),
        }
    }

    /// Takes a book out of the cart. Again, or without the book in it: the same cart.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn remove_from_cart(&self, user: UserId, book: BookId) -> Result<Cart, ShopError> {
        Ok(Cart::of(self.database().remove_cart_line(user, book).await?))
    }
}
