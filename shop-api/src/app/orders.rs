//! What a user has bought.

use api_kit::error::ApiError;
use api_kit::extract::page;
use contracts::OrderId;
use contracts::api::{OrderView, Page, PurchaseView};
use shop::Purchase;
use store::relational::OrderRecord;
use store::{List, PageCursor};

use super::App;
use super::views::order_view;
use crate::Viewer;
use crate::error::refused;

/// Most purchases of a list without pages.
pub const MOST_PURCHASES: usize = 1_000;
/// Purchases that are read at a time.
const STEP: u32 = 100;

impl App {
    /// The orders of the caller, newest first.
    ///
    /// # Errors
    /// When the caller is no user, or the database is out of reach.
    pub async fn orders(
        &self,
        viewer: &Viewer,
        limit: u32,
        after: Option<PageCursor>,
    ) -> Result<Page<OrderView>, ApiError> {
        let found = self.shop.orders(viewer.user()?, after.as_ref(), limit + 1).await.map_err(refused)?;
        let Page { items, next_cursor } = page(List::Orders, limit, found, OrderRecord::cursor);
        Ok(Page { items: items.into_iter().map(order_view).collect(), next_cursor })
    }

    /// One order of the caller; for an admin, of anybody.
    ///
    /// # Errors
    /// When there is none with the id.
    pub async fn order(&self, viewer: &Viewer, id: OrderId) -> Result<OrderView, ApiError> {
        Ok(order_view(self.shop.order(&viewer.shop(), id).await.map_err(refused)?))
    }

    /// The books of the caller, latest purchase first.
    ///
    /// # Errors
    /// When the caller is no user, or the database is out of reach.
    pub async fn purchases(
        &self,
        viewer: &Viewer,
        limit: u32,
        after: Option<PageCursor>,
    ) -> Result<Page<PurchaseView>, ApiError> {
        let found = self.shop.purchases(viewer.user()?, after.as_ref(), limit + 1).await.map_err(refused)?;
        let Page { items, next_cursor } = page(List::Purchases, limit, found, Purchase::cursor);
        let items = items.into_iter().map(|purchase| self.purchase_view(purchase)).collect();
        Ok(Page { items, next_cursor })
    }

    /// Shows `take` the books of the caller, latest purchase first, until it wants no more; at most [`MOST_PURCHASES`].
    ///
    /// # Errors
    /// As [`App::purchases`].
    pub async fn each_purchase(
        &self,
        viewer: &Viewer,
        mut take: impl FnMut(PurchaseView) -> bool,
    ) -> Result<(), ApiError> {
        let user = viewer.user()?;
        let (mut left, mut after): (usize, Option<PageCursor>) = (MOST_PURCHASES, None);
        loop {
            let found = self.shop.purchases(user, after.as_ref(), STEP).await.map_err(refused)?;
            let is_last = found.len() < STEP as usize;
            after = found.last().map(Purchase::cursor);
            for purchase in found {
                if left == 0 || !take(self.purchase_view(purchase)) {
                    return Ok(());
                }
                left -= 1;
            }
            if is_last {
                return Ok(());
            }
        }
    }
}
