//! What admins do with books, and the orders that are kept of deleted users.

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId, StrictQuery};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::BookId;
use contracts::api::{BookChangeBody, BookView, KeptOrderView, NewBookBody, Page, Problem, UploadLinkView};
use http::StatusCode;
use http::header::LOCATION;

use super::Routes;
use super::auth::ShopAdmin;
use super::pages::{KeptOrders, PageOf, PageQuery};
use crate::app::App;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![create, change, remove, publish, hide, upload, kept_orders]
}

/// Adds a book as a draft. Its recording is uploaded to the address of `POST /v1/books/{id}/upload`.
#[utoipa::path(
    post, path = "/v1/books", operation_id = "create_book", tag = "shop", request_body = NewBookBody,
    responses(
        (status = 201, body = BookView, description = "The book is added",
            headers(("Location" = String, description = "The path of the book"))),
    )
)]
pub async fn create(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    _: NoQuery,
    JsonBody(new): JsonBody<NewBookBody>,
) -> Result<Response, ApiError> {
    let book = app.create_book(&viewer, new).await?;
    let location = [(LOCATION, format!("/v1/books/{}", book.id))];
    Ok((StatusCode::CREATED, location, Json(book)).into_response())
}

/// Changes a book. It keeps its status: `POST /v1/books/{id}/publish` puts a draft that is complete now into the catalogue.
#[utoipa::path(
    patch, path = "/v1/books/{id}", operation_id = "change_book", tag = "shop", request_body = BookChangeBody,
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = BookView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`version_conflict`: the book has another version; `book_deleted`: it is deleted"),
    )
)]
pub async fn change(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(id): PathId<BookId>,
    _: NoQuery,
    JsonBody(change): JsonBody<BookChangeBody>,
) -> Result<Json<BookView>, ApiError> {
    Ok(Json(app.change_book(&viewer, id, change).await?))
}

/// Deletes a book for good. Its buyers keep it.
#[utoipa::path(
    delete, path = "/v1/books/{id}", operation_id = "delete_book", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 204, description = "The book is deleted, or was before"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    app.delete_book(&viewer, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a book into the catalogue, also one that was hidden.
#[utoipa::path(
    post, path = "/v1/books/{id}/publish", operation_id = "publish_book", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = BookView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`incomplete`: the book lacks what the detail names; `book_deleted`: it is deleted"),
    )
)]
pub async fn publish(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Json<BookView>, ApiError> {
    Ok(Json(app.publish_book(&viewer, id).await?))
}

/// Takes a book out of the catalogue. Its buyers keep it, and `POST /v1/books/{id}/publish` puts it back.
#[utoipa::path(
    post, path = "/v1/books/{id}/hide", operation_id = "hide_book", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = BookView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`book_deleted`: it is deleted"),
    )
)]
pub async fn hide(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Json<BookView>, ApiError> {
    Ok(Json(app.hide_book(&viewer, id).await?))
}

/// An address to which the recording of a book is uploaded: a further one of the open upload, or a new upload.
#[utoipa::path(
    post, path = "/v1/books/{id}/upload", operation_id = "begin_book_upload", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = UploadLinkView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`book_deleted`: it is deleted"),
    )
)]
pub async fn upload(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Json<UploadLinkView>, ApiError> {
    Ok(Json(app.upload_link(&viewer, id).await?))
}

/// The orders of deleted users, newest first: what the law wants kept of them, without a user.
#[utoipa::path(
    get, path = "/v1/kept-orders", operation_id = "list_kept_orders", tag = "shop", params(PageQuery),
    responses((status = 200, body = Page<KeptOrderView>))
)]
pub async fn kept_orders(
    State(app): State<App>,
    _: ShopAdmin,
    StrictQuery(PageOf { limit, cursor, .. }): StrictQuery<PageOf<KeptOrders>>,
) -> Result<Json<Page<KeptOrderView>>, ApiError> {
    Ok(Json(app.kept_orders(limit, cursor).await?))
}
