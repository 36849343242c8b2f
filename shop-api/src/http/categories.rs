//! Categories of books.

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::CategorySlug;
use contracts::api::{CategoryBody, CategoryView, Page, Problem};
use http::StatusCode;

use super::Routes;
use super::auth::{ShopAdmin, ShopUser};
use crate::app::App;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, put, remove]
}

/// The categories by name. Admins also see those that are only proposed.
#[utoipa::path(
    get, path = "/v1/categories", operation_id = "list_categories", tag = "shop",
    responses((status = 200, body = Page<CategoryView>))
)]
pub async fn list(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    _: NoQuery,
) -> Result<Json<Page<CategoryView>>, ApiError> {
    // There are few categories, so there is only one page.
    Ok(Json(Page { items: app.categories(&viewer).await?, next_cursor: None }))
}

/// Adds a category, or changes it. One that was proposed is in use from then on.
#[utoipa::path(
    put, path = "/v1/categories/{slug}", operation_id = "put_category", tag = "shop", request_body = CategoryBody,
    params(("slug" = CategorySlug, Path, description = "The category's name in paths")),
    responses((status = 200, body = CategoryView))
)]
pub async fn put(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(slug): PathId<CategorySlug>,
    _: NoQuery,
    JsonBody(body): JsonBody<CategoryBody>,
) -> Result<Json<CategoryView>, ApiError> {
    Ok(Json(app.put_category(&viewer, slug, body).await?))
}

/// Removes a category, also from its books.
#[utoipa::path(
    delete, path = "/v1/categories/{slug}", operation_id = "delete_category", tag = "shop",
    params(("slug" = CategorySlug, Path, description = "The category's name in paths")),
    responses(
        (status = 204, description = "The category is removed"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no category has the name"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(slug): PathId<CategorySlug>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    app.remove_category(&viewer, &slug).await?;
    Ok(StatusCode::NO_CONTENT)
}
