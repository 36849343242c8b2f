//! The routes of the API, in folders by resource, and the middleware around them.

mod accounts;
mod app;
mod auth;
mod client_origin;
mod compat;
mod extract;
mod forward;
mod health;
mod pages;
mod shop;
mod swagger_ui;
mod v1;

use std::time::Duration;

use api_kit::middleware::{with_middleware, with_timeout};
use api_kit::openapi;
use axum::Router;
use platform::Health;
use utoipa_axum::router::OpenApiRouter;

pub use app::App;

/// Routes of this service with their part of the OpenAPI document.
pub type Routes = api_kit::describe::Routes<App>;

/// Time limit for the response of a short route.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The router of all routes for clients, those of other services in this process included.
pub fn router(app: App, health: &Health, other_services: api_kit::describe::Routes<()>) -> Router {
    let older_clients = app.config.compat;
    let (routes, document) =
        routes(older_clients).merge(health::routes(health)).merge(other_services.with_state(())).split_for_parts();
    let routes = api_kit::checked(routes.merge(shop::routes(&app)), &app.files_in_use);
    with_middleware(routes.merge(pages::router(document))).with_state(app)
}

/// The routes of the API with their part of the OpenAPI document.
fn routes(older_clients: bool) -> Routes {
    // Long routes have their own limits: uploads, requests that wait for results, and streams.
    let (mut short, mut long) = (v1::routes().merge(accounts::routes()), v1::long_routes());
    if older_clients {
        short = short.merge(compat::routes());
        long = long.merge(compat::long_routes());
    }
    OpenApiRouter::with_openapi(openapi::base()).merge(with_timeout(RESPONSE_TIMEOUT, short)).merge(long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_routes_are_described_only_when_they_are_on() {
        let document = |older_clients| {
            let routes = routes(older_clients).merge(health::routes(&Health::default()));
            routes.into_openapi().paths.paths
        };
        let (all, without_older) = (document(true), document(false));
        assert!(all.len() >= 44, "{} paths", all.len());
        for older in
            ["/users", "/token", "/users/me/", "/login", "/setName", "/getName", "/detections", "/stats", "/alerts"]
        {
            assert!(all.contains_key(older) && !without_older.contains_key(older), "{older}");
        }
        assert!(without_older.keys().all(|path| all.contains_key(path)));
    }
}
