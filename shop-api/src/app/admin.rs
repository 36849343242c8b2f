//! What admins do: books, categories, refunds, and the orders that are kept of deleted users.

use api_kit::error::ApiError;
use api_kit::extract::page;
use contracts::api::{
    BookChangeBody, BookView, CategoryBody, CategoryView, KeptOrderView, NewBookBody, OrderView, Page, RefundBody,
};
use contracts::{BookId, CategorySlug, OrderId};
use shop::{BookFields, NewBookFields, ShopError};
use store::relational::{CategoryRecord, KeptOrderRecord};
use store::{List, PageCursor};

use super::App;
use super::views::{category_view, order_lines, order_view};
use crate::Viewer;
use crate::error::refused;

impl App {
    /// Adds a book, as a draft.
    ///
    /// # Errors
    /// When a value is invalid.
    pub async fn create_book(&self, viewer: &Viewer, new: NewBookBody) -> Result<BookView, ApiError> {
        let book = self.shop.create_book(new_book(new), &viewer.actor()).await.map_err(refused)?;
        Ok(self.book_view(book, true))
    }

    /// Changes a book. It keeps its status.
    ///
    /// # Errors
    /// When there is no such book, a value is invalid, or the book has another version than the change names.
    pub async fn change_book(&self, viewer: &Viewer, id: BookId, change: BookChangeBody) -> Result<BookView, ApiError> {
        let BookChangeBody { title, author, price, language, description, categories, version } = change;
        let fields = BookFields { title, author, language, price, description, categories };
        let book = self.shop.change_book(id, fields, version, &viewer.actor()).await.map_err(refused)?;
        Ok(self.book_view(book, true))
    }

    /// Puts a book into the catalogue, also one that was hidden.
    ///
    /// # Errors
    /// When there is no such book, or it lacks something.
    pub async fn publish_book(&self, viewer: &Viewer, id: BookId) -> Result<BookView, ApiError> {
        let book = self.shop.publish_book(id, &viewer.actor()).await.map_err(refused)?;
        Ok(self.book_view(book, true))
    }

    /// Takes a book out of the catalogue. Its buyers keep it.
    ///
    /// # Errors
    /// When there is no such book.
    pub async fn hide_book(&self, viewer: &Viewer, id: BookId) -> Result<BookView, ApiError> {
        let book = self.shop.hide_book(id, &viewer.actor()).await.map_err(refused)?;
        Ok(self.book_view(book, true))
    }

    /// Deletes a book for good. Its buyers keep it; again: the same.
    ///
    /// # Errors
    /// When there is no such book.
    pub async fn delete_book(&self, viewer: &Viewer, id: BookId) -> Result<(), ApiError> {
        self.shop.delete_book(id, &viewer.actor()).await.map_err(refused)
    }

    /// Adds a category, or changes it.
    ///
    /// # Errors
    /// When a value is invalid, or there are too many.
    pub async fn put_category(
        &self,
        viewer: &Viewer,
        slug: CategorySlug,
        CategoryBody { label, hint }: CategoryBody,
    ) -> Result<CategoryView, ApiError> {
        let category = CategoryRecord { slug, label, hint, accepted: true };
        let stored = self.shop.put_category(category, &viewer.actor()).await.map_err(refused)?;
        Ok(category_view(stored))
    }

    /// Puts a proposed category into use; again: the same.
    ///
    /// # Errors
    /// When there is no such category.
    pub async fn accept_category(&self, viewer: &Viewer, slug: CategorySlug) -> Result<CategoryView, ApiError> {
        let known = self.shop.categories().await.map_err(refused)?.into_iter().find(|known| known.slug == slug);
        let known = known.ok_or_else(|| refused(ShopError::NotFound("category")))?;
        self.put_category(viewer, slug, CategoryBody { label: known.label, hint: known.hint }).await
    }

    /// Removes a category, also from all books.
    ///
    /// # Errors
    /// When there is no such category.
    pub async fn remove_category(&self, viewer: &Viewer, slug: &CategorySlug) -> Result<(), ApiError> {
        self.shop.remove_category(slug, &viewer.actor()).await.map_err(refused)
    }

    /// Takes the books of an order back and gives the money back; again: the same.
    ///
    /// # Errors
    /// When there is no such order, or it was never paid.
    pub async fn refund(
        &self,
        viewer: &Viewer,
        order: OrderId,
        RefundBody { reason }: RefundBody,
    ) -> Result<OrderView, ApiError> {
        Ok(order_view(self.shop.refund(order, &reason, &viewer.actor()).await.map_err(refused)?))
    }

    /// The orders that are kept of deleted users, newest first.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn kept_orders(&self, limit: u32, after: Option<PageCursor>) -> Result<Page<KeptOrderView>, ApiError> {
        let found = self.shop.kept_orders(after.as_ref(), limit + 1).await.map_err(refused)?;
        let Page { items, next_cursor } = page(List::KeptOrders, limit, found, KeptOrderRecord::cursor);
        Ok(Page { items: items.into_iter().map(kept_order_view).collect(), next_cursor })
    }
}

/// The fields of a new book.
pub(super) fn new_book(new: NewBookBody) -> NewBookFields {
    let NewBookBody { title, author, price, language, description, categories } = new;
    NewBookFields { title, author, price, language, description, categories }
}

fn kept_order_view(order: KeptOrderRecord) -> KeptOrderView {
    let KeptOrderRecord { id, status, total, lines, created_at, paid_at, refunded_at, .. } = order;
    KeptOrderView { id, status, total, lines: order_lines(lines), created_at, paid_at, refunded_at }
}
