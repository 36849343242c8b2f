//! Middleware that every service has: request id, access log, trace, CORS, and security headers for browsers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::header::{
    CONTENT_SECURITY_POLICY, Entry, HOST, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tower_http::cors::CorsLayer;
use tracing::Instrument;

use super::access::Line;
use super::cross_origin::CrossOrigin;
use super::request_id::{self, CURRENT, REQUEST_ID};
use super::request_span::RequestSpan;
use crate::traces::Traces;

/// Scheme of the client's request, set by proxies.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Security headers of every response: no content sniffing, no framing by other sites, no referrer.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// A year of HTTPS only.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Settings of the middleware of one port.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    /// Whether the port speaks TLS.
    pub encrypted: bool,
    /// CORS, when origins are set.
    pub cors: Option<CorsLayer>,
    /// Whether the access log is off.
    pub unlogged: bool,
    /// Whether only programs call the port, so that responses need no headers for browsers.
    pub for_programs: bool,
    /// Starts the spans of requests.
    pub traces: Traces,
}

impl Edge {
    /// Adds the middleware to `routes`.
    pub fn around(self, routes: Router) -> Router {
        let routes = match &self.cors {
            Some(cors) => routes.layer(CrossOrigin(cors.clone())),
            None => routes,
        };
        // Added to each route, because only there `MatchedPath` is known.
        routes.layer(from_fn_with_state(Arc::new(self), pass))
    }
}

async fn pass(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let id = request_id::of(&mut request);
    let span = RequestSpan::begin(&edge.traces, &mut request);
    let line = if edge.unlogged { None } else { Line::begin(&mut request, &id, span.trace_id()) };
    if edge.encrypted {
        request.headers_mut().insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
    let strict = edge.encrypted && !edge.for_programs && !is_local(request.headers());

    let log_span = tracing::info_span!("request", request.id = id.to_str().unwrap_or_default());
    let mut response = CURRENT.scope(id.clone(), next.run(request)).instrument(log_span).await;
    span.finish(response.status());

    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if !edge.for_programs {
        for (name, value) in SECURITY_HEADERS {
            insert_if_absent(headers, name, value);
        }
    }
    if strict {
        insert_if_absent(headers, STRICT_TRANSPORT_SECURITY, HSTS);
    }
    match line {
        Some(line) => line.finish_with(response),
        None => response,
    }
}

fn insert_if_absent(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    if let Entry::Vacant(place) = headers.entry(name) {
        place.insert(value);
    }
}

/// Whether the client calls this server `localhost`. HSTS for that name would also apply to all other local servers.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let name = host.split(|byte| *byte == b':').next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"localhost")
}
