//! The middleware of every request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use platform::http::Tenant;
use utoipa_axum::router::OpenApiRouter;

use crate::drain::drain_on_drop;
use crate::error::{ApiError, RequestError, ServiceError};
use crate::full_disk::FullDiskLog;
use crate::rate_limit::RateLimitSlot;
use crate::request_metrics::RequestMetrics;
use crate::response_bytes::ResponseBytes;

/// The routes with the middleware of every request, and problems for unknown paths and wrong methods.
pub fn with_middleware<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .fallback(|| async { ApiError::from(RequestError::UnknownPath) })
        .method_not_allowed_fallback(|| async { ApiError::from(RequestError::MethodNotAllowed) })
        .layer(from_fn_with_state(Arc::<Observed>::default(), observe))
}

/// What is recorded about requests and counted of their responses.
#[derive(Default)]
struct Observed {
    responses: ResponseBytes,
    metrics: RequestMetrics,
    full_disk: FullDiskLog,
}

/// Reads what the handler left of the request body, turns a panic into problem details, counts the bytes of the response, sets the
/// rate limit headers, and records metrics and full disks. One function, because each layer of middleware costs every request several
/// allocations.
async fn observe(State(observed): State<Arc<Observed>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, route) = (request.method().clone(), request.extensions().get::<MatchedPath>().cloned());
    let rate_limit = RateLimitSlot::insert(&mut request);
    let tenant = Tenant::insert(request.extensions_mut());
    let answering = AssertUnwindSafe(next.run(request.map(drain_on_drop))).catch_unwind();
    let response = answering.await.unwrap_or_else(|_| {
        ApiError::from(ServiceError::Internal(anyhow::anyhow!("a handler panicked"))).into_response()
    });
    let mut response = observed.responses.counted(response, &method, tenant.name());
    rate_limit.rate_limit_headers(response.headers_mut());
    observed.metrics.record(&method, route.as_ref(), response.status(), started.elapsed());
    observed.full_disk.record(&method, route.as_ref(), &response);
    response
}

/// The routes, each with a time limit for its response.
pub fn with_timeout<S: Clone + Send + Sync + 'static>(limit: Duration, routes: OpenApiRouter<S>) -> OpenApiRouter<S> {
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
    async fn long_responses_that_nobody_reads_are_bounded() {
        let long = get(|| async { vec![7_u8; 8 << 20] });
        let routes: Router = with_middleware(Router::new().route("/long", long));
        let ask = async || {
            let request = Request::get("/long").body(Body::empty()).unwrap();
            routes.clone().oneshot(request).await.unwrap()
        };
        let mut unread = Vec::new();
        for _ in 0..8 {
            unread.push(ask().await);
        }
        assert!(unread.iter().all(|response| response.status() == StatusCode::OK));
        assert_eq!(ask().await.status(), StatusCode::TOO_MANY_REQUESTS);
        drop(unread);
        assert_eq!(ask().await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_slow_handler_is_answered_with_503() {
        let hang = Router::new().route("/hang", get(std::future::pending::<StatusCode>));
        let response = send(with_timeout(Duration::from_millis(10), hang.into()).into(), "/hang").await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key("retry-after"));
    }
}
