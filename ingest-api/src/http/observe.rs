//! What is seen of every request from outside its handler: an id, a line of the log, counters. Never tokens or bodies.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use metrics::SharedString;
use uuid::Uuid;

use crate::upload::lingering;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps a request.
pub async fn observe(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    // By pattern, not by path: ids would make a counter of each.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let mut response = next.run(request.map(lingering)).await;
    let (status, took) = (response.status(), began.elapsed());
    tracing::debug!(request.id = id.to_str().unwrap_or_default(), %method, route, status = status.as_u16(), ?took, "request");
    let route = SharedString::from(route);
    let labels = [
        ("route", route.clone()),
        ("method", SharedString::from(known(method.as_str()))),
        ("status", SharedString::from(status.as_str().to_owned())),
    ];
    metrics::counter!("sightline_http_requests_total", &labels).increment(1);
    metrics::histogram!("sightline_http_request_seconds", "route" => route).record(took.as_secs_f64());
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The id that the client or a proxy gave, if it is fit for a log; else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let fit = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/=+".contains(byte);
        (1..=128).contains(&bytes.len()) && bytes.iter().all(plain)
    };
    match request.headers().get(REQUEST_ID).filter(fit) {
        Some(given) => given.clone(),
        None => HeaderValue::try_from(Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("none")),
    }
}

/// The method, if it is one of the usual: a client may invent any number of others.
fn known(method: &str) -> &'static str {
    let usual = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"];
    usual.into_iter().find(|name| *name == method).unwrap_or("other")
}
