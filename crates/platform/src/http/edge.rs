//! What every request meets on its way in and every answer on its way out, whichever service it is for: a request id, the
//! access log, CORS, and headers that tell browsers to be careful.

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
use super::request_id::{self, CURRENT, REQUEST_ID};

/// What proxies tell services of the way that a request came by.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Of every answer: it is what it says it is, stands in no frame of another page, and is not told to other sites.
const CAREFUL: [(HeaderName, HeaderValue); 3] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// For a year, this host by TLS only.
const BY_TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// How a port treats what passes.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    /// Whether connections are encrypted.
    pub encrypted: bool,
    /// Web pages that may call.
    pub cors: Option<CorsLayer>,
    /// Whether requests are left out of the access log.
    pub unlogged: bool,
}

impl Edge {
    /// The routes behind this edge.
    pub fn before(self, routes: Router) -> Router {
        let routes = match &self.cors {
            Some(cors) => routes.layer(cors.clone()),
            None => routes,
        };
        // Around each route and not around all of them: only there the route is known by its pattern.
        routes.layer(from_fn_with_state(Arc::new(self), pass))
    }
}

async fn pass(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let id = request_id::of(&mut request);
    let line = if edge.unlogged { None } else { Line::begin(&mut request, &id) };
    if edge.encrypted {
        request.headers_mut().insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
    let strict = edge.encrypted && !is_local(request.headers());

    let span = tracing::info_span!("request", request.id = id.to_str().unwrap_or_default());
    let mut response = CURRENT.scope(id.clone(), next.run(request)).instrument(span).await;

    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    for (name, value) in CAREFUL {
        unless_set(headers, name, value);
    }
    if strict {
        unless_set(headers, STRICT_TRANSPORT_SECURITY, BY_TLS_ONLY);
    }
    match line {
        Some(line) => line.follow(response),
        None => response,
    }
}

fn unless_set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    if let Entry::Vacant(place) = headers.entry(name) {
        place.insert(value);
    }
}

/// Whether the client calls this `localhost`: to bind that name to TLS would bind everything else that is tried out there.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let name = host.split(|byte| *byte == b':').next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"localhost")
}
