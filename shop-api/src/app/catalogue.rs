//! The catalogue, as a viewer may see it.

use api_kit::error::ApiError;
use api_kit::extract::page;
use contracts::api::{BookView, CategoryView, Page};
use contracts::{BookId, BookStatus, CategorySlug};
use shop::BookQuery;
use store::{List, PageCursor};

use super::App;
use super::views::category_view;
use crate::Viewer;
use crate::error::refused;

/// Books of a page, if the client names no number.
pub const DEFAULT_PAGE: u32 = 20;
/// Most books of a page.
pub const MAX_PAGE: u32 = 50;

/// Which books are listed.
#[derive(Debug, Default)]
pub struct BookList {
    /// Words of title, author or description.
    pub query: Option<String>,
    /// Only those of this category.
    pub category: Option<CategorySlug>,
    /// Only those with one of these statuses; empty: for users those that are for sale, for admins all but the deleted ones.
    pub statuses: Vec<BookStatus>,
    /// Most books of the page.
    pub limit: u32,
    /// The end of the previous page.
    pub cursor: Option<PageCursor>,
}

impl App {
    /// The books, newest first.
    ///
    /// # Errors
    /// When a value is invalid, a user asks for books that are not for sale, or the database is out of reach.
    pub async fn books(&self, viewer: &Viewer, list: BookList) -> Result<Page<BookView>, ApiError> {
        let BookList { query, category, statuses, limit, cursor } = list;
        let (viewer, query) = (viewer.shop(), BookQuery { query, category, statuses });
        // One more than the page has: it means that there is a next page.
        let found = self.shop.books(&viewer, &query, cursor.as_ref(), limit + 1).await.map_err(refused)?;
        let Page { items, next_cursor } = page(List::Books, limit, found, |book| book.record.cursor());
        let items = items.into_iter().map(|book| self.book_view(book, viewer.admin)).collect();
        Ok(Page { items, next_cursor })
    }

    /// One book.
    ///
    /// # Errors
    /// When there is none that the viewer may see.
    pub async fn book(&self, viewer: &Viewer, id: BookId) -> Result<BookView, ApiError> {
        let viewer = viewer.shop();
        let book = self.shop.book(&viewer, id).await.map_err(refused)?;
        Ok(self.book_view(book, viewer.admin))
    }

    /// The categories by their names in paths. Proposed ones are for admins only.
    ///
    /// # Errors
    /// When the database is out of reach.
    pub async fn categories(&self, viewer: &Viewer) -> Result<Vec<CategoryView>, ApiError> {
        let for_admin = viewer.shop().admin;
        let found = self.shop.categories().await.map_err(refused)?;
        Ok(found.into_iter().filter(|category| category.accepted || for_admin).map(category_view).collect())
    }
}
