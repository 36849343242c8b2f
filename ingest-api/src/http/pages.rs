//! The OpenAPI document at `/openapi.json` and Swagger UI at `/docs`.

use axum::response::Redirect;
use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::OpenApi as Document;

use crate::http::app::App;

/// `/openapi.json` and `/docs`, to which `/` redirects.
pub fn router(document: Document) -> Router<App> {
    let document = Json(document);
    crate::http::swagger_ui::router()
        .route("/openapi.json", get(|| async { document }))
        .route("/", get(|| async { Redirect::temporary("/docs/") }))
}
