//! The cart of a user, and its checkout.

use api_kit::error::ApiError;
use contracts::api::{CartView, OrderView};
use contracts::{BookId, Money};

use super::App;
use super::views::order_view;
use crate::Viewer;
use crate::error::refused;

impl App {
    /// The cart at today's prices, which count as shown from now on.
    ///
    /// # Errors
    /// When the caller is no user, or the database is out of reach.
    pub async fn cart(&self, viewer: &Viewer) -> Result<CartView, ApiError> {
        Ok(self.cart_view(self.shop.cart(viewer.user()?).await.map_err(refused)?))
    }

    /// Puts a book into the cart; again: the same cart.
    ///
    /// # Errors
    /// When the book is not for sale to the viewer, is bought already or has another currency, or the cart is full.
    pub async fn add_to_cart(&self, viewer: &Viewer, book: BookId) -> Result<CartView, ApiError> {
        Ok(self.cart_view(self.shop.add_to_cart(viewer.user()?, book).await.map_err(refused)?))
    }

    /// Takes a book out of the cart; again: the same cart.
    ///
    /// # Errors
    /// When the caller is no user, or the database is out of reach.
    pub async fn remove_from_cart(&self, viewer: &Viewer, book: BookId) -> Result<CartView, ApiError> {
        Ok(self.cart_view(self.shop.remove_from_cart(viewer.user()?, book).await.map_err(refused)?))
    }

    /// Buys the books of the cart. With the same key, or without one and with the same cart, it is the same order.
    ///
    /// # Errors
    /// When the cart cannot be bought as it was shown, or the payment is declined or not decided yet.
    pub async fn checkout(
        &self,
        viewer: &Viewer,
        key: Option<&str>,
        seen_total: Option<Money>,
    ) -> Result<OrderView, ApiError> {
        let order = self.shop.checkout(viewer.user()?, key, seen_total).await.map_err(refused)?;
        Ok(order_view(order))
    }
}
