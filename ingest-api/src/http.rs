//! The routes of the API, in folders by resource, and the middleware around them.

mod accounts;
mod app;
mod auth;
mod client_origin;
mod compat;
mod describe;
mod drain;
mod error;
mod extract;
mod files_in_use;
mod full_disk;
mod health;
mod openapi;
mod rate_limit;
mod request_metrics;
mod scope;
mod swagger_ui;
mod upload;
mod v1;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use platform::Health;
use utoipa_axum::router::OpenApiRouter;

use describe::Routes;
use drain::drain_on_drop;
use error::{ApiError, RequestError, ServiceError};
use full_disk::FullDiskLog;
use rate_limit::RateLimitSlot;
use request_metrics::RequestMetrics;

pub use app::App;

/// Time limit for the response of a short route.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The router of all routes for clients.
pub fn router(app: App, health: &Health) -> Router {
    let older_clients = app.config.compat;
    let (routes, document) = routes(older_clients).merge(health::routes(health)).split_for_parts();
    let routes = files_in_use::checked(routes, &app.files_in_use);
    with_middleware(routes.merge(openapi::pages(document))).with_state(app)
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

/// The routes with the middleware of every request, and problems for unknown paths and wrong methods.
fn with_middleware<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .fallback(|| async { ApiError::from(RequestError::UnknownPath) })
        .method_not_allowed_fallback(|| async { ApiError::from(RequestError::MethodNotAllowed) })
        .layer(from_fn_with_state(Arc::<Observed>::default(), observe))
}

/// What is recorded about requests.
#[derive(Default)]
struct Observed {
    metrics: RequestMetrics,
    full_disk: FullDiskLog,
}

/// Reads what the handler left of the request body, turns a panic into problem details, sets the rate limit headers, and records
/// metrics and full disks. One function, because each layer of middleware costs every request several allocations.
async fn observe(State(observed): State<Arc<Observed>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, route) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
    let rate_limit = RateLimitSlot::insert(&mut request);
    let answering = AssertUnwindSafe(next.run(request.map(drain_on_drop))).catch_unwind();
    let mut response = answering.await.unwrap_or_else(|_| {
        ApiError::from(ServiceError::Internal(anyhow::anyhow!("a handler panicked"))).into_response()
    });
    rate_limit.rate_limit_headers(response.headers_mut());
    observed.metrics.record(&method, route.as_ref(), response.status(), started.elapsed());
    observed.full_disk.record(&method, route.as_ref(), &response);
    response
}

/// The routes, each with a time limit for its response.
fn with_timeout<S: Clone + Send + Sync + 'static>(limit: Duration, routes: OpenApiRouter<S>) -> OpenApiRouter<S> {
    routes.layer(from_fn(move |request: Request, next: Next| async move {
        let response = tokio::time::timeout(limit, next.run(request)).await;
        response.unwrap_or_else(|_| ApiError::from(ServiceError::Timeout).into_response())
    }))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;

    async fn send(routes: Router, path: &str) -> Response {
        with_middleware(routes).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_without_its_message() {
        async fn panicking() -> StatusCode {
            panic!("secret")
        }
        let response = send(Router::new().route("/panic", get(panicking)), "/panic").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }

    #[tokio::test]
    async fn a_slow_handler_is_answered_with_503() {
        let hang = Router::new().route("/hang", get(std::future::pending::<StatusCode>));
        let response = send(with_timeout(Duration::from_millis(10), hang.into()).into(), "/hang").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
    }

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
