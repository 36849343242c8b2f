//! Where a listener stopped.

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::BookId;
use contracts::api::{PositionBody, PositionView, Problem};

use super::Routes;
use super::auth::ShopUser;
use crate::app::App;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![get, put]
}

/// Where the caller stopped in a book; the beginning, if it was never told.
#[utoipa::path(
    get, path = "/v1/books/{id}/position", operation_id = "get_position", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = PositionView),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "`not_bought`: the caller has not bought the book; `forbidden`, `no_user`: the credential does not allow it"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
    )
)]
pub async fn get(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Json<PositionView>, ApiError> {
    Ok(Json(app.position(&viewer, id).await?))
}

/// Tells where the caller is in a book. Of several devices the latest `event_time` counts, whichever arrives last; the response has the
/// position that counts.
#[utoipa::path(
    put, path = "/v1/books/{id}/position", operation_id = "put_position", tag = "shop", request_body = PositionBody,
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = PositionView),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "`not_bought`: the caller has not bought the book; `forbidden`, `no_user`: the credential does not allow it"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
    )
)]
pub async fn put(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<BookId>,
    _: NoQuery,
    JsonBody(body): JsonBody<PositionBody>,
) -> Result<Json<PositionView>, ApiError> {
    Ok(Json(app.put_position(&viewer, id, body).await?))
}
