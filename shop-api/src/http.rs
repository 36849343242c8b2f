//! The REST twins of the gRPC services: the routes under `/v1/books`, `/v1/cart`, `/v1/checkout`, `/v1/orders`, and those of admins.
//!
//! Handlers translate and delegate to [`App`]; files have routes of their own ([`files`]).

mod auth;
mod books;
mod cart;
mod categories;
mod files;
mod manage;
mod optional_json;
mod orders;
mod pages;
mod pipeline;
mod positions;
mod providers;
mod transcripts;

use std::time::Duration;

use api_kit::middleware::{with_middleware, with_timeout};
use api_kit::openapi;
use axum::routing::get;
use axum::{Json, Router};
use platform::Health;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub use auth::{ShopAdmin, ShopUser};

/// Routes of this service with their part of the OpenAPI document.
pub type Routes = api_kit::describe::Routes<App>;

/// Time limit for the response of a route that only uses the database.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// The same of a checkout or a refund, whose payment has 30 seconds.
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(40);
/// The same of a route that waits for a recording.
const WORK_TIMEOUT: Duration = Duration::from_secs(60);

/// Path of the document of this service alone. A server with several services has one of all of them at `/openapi.json`; behind a proxy
/// that path is another service's.
const DOCUMENT: &str = "/v1/books/openapi.json";

/// All routes, and their document.
pub fn routes() -> Routes {
    let quick = books::routes()
        .merge(manage::routes())
        .merge(categories::routes())
        .merge(cart::routes())
        .merge(orders::routes())
        .merge(positions::routes())
        .merge(transcripts::routes())
        .merge(pipeline::routes())
        .merge(providers::routes());
    let routes = with_timeout(RESPONSE_TIMEOUT, quick)
        .merge(with_timeout(PAYMENT_TIMEOUT, cart::checkout_routes().merge(orders::refund_routes())))
        .merge(with_timeout(WORK_TIMEOUT, pipeline::work_routes()))
        .merge(files::routes());
    let document = Json(openapi::base().merge_from(routes.get_openapi().clone()));
    routes.route(DOCUMENT, get(|| async { document }))
}

/// The router of a process that has only this service.
pub fn router(app: &App, health: &Health) -> Router {
    let document = OpenApiRouter::with_openapi(openapi::base());
    let (routes, document) = document.merge(routes().with_state(app.clone())).split_for_parts();
    let document = Json(document);
    let routes = routes.merge(health.router()).route("/openapi.json", get(|| async { document }));
    with_middleware(routes)
}
