//! The catalogue, and the link to a recording that was bought.

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId, StrictQuery, cursor_of};
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::api::{BookView, DownloadView, Page, Problem};
use contracts::{BookId, BookStatus, CategorySlug};
use platform::query::{Invalid, Parameters, Query};
use store::{List, PageCursor};

use super::Routes;
use super::auth::ShopUser;
use super::pages::limit;
use crate::app::{App, BookList};

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, one, download]
}

/// The query of a list of books.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BooksQuery {
    /// Words of title, author or description. All of them must occur; the last one may be the beginning of a word.
    #[param(value_type = Option<String>)]
    query: Option<String>,
    /// Only books of this category.
    #[param(value_type = Option<String>)]
    category: Option<CategorySlug>,
    /// Only books with this status. Others than `ready` are for admins.
    #[param(value_type = Option<BookStatus>)]
    status: Option<BookStatus>,
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    limit: u32,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{8,256}$")]
    cursor: Option<PageCursor>,
}

impl Parameters for BooksQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let cursor = query.text("cursor")?.map(|text| cursor_of(List::Books, &text)).transpose()?;
        Ok(Self {
            query: query.text("query")?,
            category: query.parsed("category")?,
            status: query.parsed("status")?,
            limit: limit(query)?,
            cursor,
        })
    }
}

/// The books that are for sale, newest first. Admins may list others.
#[utoipa::path(
    get, path = "/v1/books", operation_id = "list_books", tag = "shop", params(BooksQuery),
    responses((status = 200, body = Page<BookView>))
)]
pub async fn list(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    StrictQuery(BooksQuery { query, category, status, limit, cursor }): StrictQuery<BooksQuery>,
) -> Result<Json<Page<BookView>>, ApiError> {
    let list = BookList { query, category, statuses: status.into_iter().collect(), limit, cursor };
    Ok(Json(app.books(&viewer, list).await?))
}

/// One book.
#[utoipa::path(
    get, path = "/v1/books/{id}", operation_id = "get_book", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = BookView),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id, or it is not for sale and was not bought"),
    )
)]
pub async fn one(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Json<BookView>, ApiError> {
    Ok(Json(app.book(&viewer, id).await?))
}

/// A link to the recording of a book that the caller has bought. It works for ten minutes, and ends with a refund.
#[utoipa::path(
    post, path = "/v1/books/{id}/download", operation_id = "download_book", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = DownloadView),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "`not_bought`: the caller has not bought the book; `forbidden`, `no_user`: the credential does not allow it"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id, or it has no recording yet"),
    )
)]
pub async fn download(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Json<DownloadView>, ApiError> {
    Ok(Json(app.download(&viewer, id).await?))
}
