//! What is counted of every request from outside its handler; the request's id and its line of the log are `platform`'s.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use metrics::SharedString;

use crate::upload::lingering;

/// Wraps a request.
pub async fn observe(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    // By pattern, not by path: ids would make a counter of each.
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request.map(lingering)).await;
    let (route, status) = (SharedString::from(route), response.status());
    let labels = [
        ("route", route.clone()),
        ("method", SharedString::from(known(method.as_str()))),
        ("status", SharedString::from(status.as_str().to_owned())),
    ];
    metrics::counter!("sightline_http_requests_total", &labels).increment(1);
    metrics::histogram!("sightline_http_request_seconds", "route" => route).record(began.elapsed().as_secs_f64());
    response
}

/// The method, if it is one of the usual: a client may invent any number of others.
fn known(method: &str) -> &'static str {
    let usual = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"];
    usual.into_iter().find(|name| *name == method).unwrap_or("other")
}
