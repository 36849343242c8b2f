//! What users have ordered and bought.

use contracts::{Money, OrderId, UserId};
use jiff::Timestamp;
use store::PageCursor;
use store::relational::{KeptOrderRecord, OrderRecord, PurchaseRecord};

use crate::{Book, Shop, ShopError, Viewer};

/// A book that a user has bought.
#[derive(Debug, Clone, PartialEq)]
pub struct Purchase {
    /// The order.
    pub order: OrderId,
    /// The book, also when it is hidden or deleted since.
    pub book: Book,
    /// What was paid for it.
    pub price: Money,
    /// When it was paid.
    pub purchased_at: Timestamp,
    cursor: PageCursor,
}

impl Purchase {
    fn of(record: PurchaseRecord) -> Self {
        let cursor = record.cursor();
        let PurchaseRecord { order, book, price, purchased_at } = record;
        Self { order, book: Book { record: book, owned: true }, price, purchased_at, cursor }
    }

    /// The position in the list of purchases.
    pub fn cursor(&self) -> PageCursor {
        self.cursor.clone()
    }
}

impl Shop {
    /// The orders of a user, newest first, after a cursor.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn orders(
        &self,
        user: UserId,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<OrderRecord>, ShopError> {
        Ok(self.database().orders(user, after, limit).await?)
    }

    /// An order of the viewer; any order for an admin.
    ///
    /// # Errors
    /// `NotFound` for another's.
    pub async fn order(&self, viewer: &Viewer, id: OrderId) -> Result<OrderRecord, ShopError> {
        let order = self.database().order(id).await?;
        order.filter(|order| viewer.admin || viewer.user == Some(order.user)).ok_or(ShopError::NotFound("order"))
    }

    /// The books that a user has bought, newest first, after a cursor.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn purchases(
        &self,
        user: UserId,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<Purchase>, ShopError> {
        Ok(self.database().purchases(user, after, limit).await?.into_iter().map(Purchase::of).collect())
    }

    /// What is kept of the orders of deleted users, newest first, after a cursor.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn kept_orders(&self, after: Option<&PageCursor>, limit: u32) -> Result<Vec<KeptOrderRecord>, ShopError> {
        Ok(self.database().kept_orders(after, limit).await?)
    }
}
