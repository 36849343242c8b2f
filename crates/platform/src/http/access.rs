//! The access log: one line per request, written when its response is sent or its client has disconnected.
//!
//! A line has method, route, status, that of gRPC if there is one, time, bytes, request id, the id of the trace if traces are on, the
//! caller's tenant where a handler sets it, the client's address, and `cut` if the client disconnected before the end of the response. The route is the pattern and not the path: a
//! path, like the query, headers and bodies, may contain credentials.
//! `SIGHTLINE_LOG=info,access=off` turns it off.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::response::Response;
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};

use crate::telemetry::ACCESS_TARGET;

/// Routes that orchestrators call frequently. They are logged only when they fail.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The status of a gRPC call, in the trailers of its response, or in the headers of one without a body.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The tenant of a request's caller. It has a name after an argument of the handler has authenticated the caller.
#[derive(Debug, Clone, Default)]
pub struct Tenant(Arc<OnceLock<String>>);

impl Tenant {
    /// That of a request, which from now on can learn its name.
    pub fn insert(request: &mut Extensions) -> Self {
        request.get_or_insert_default::<Self>().clone()
    }

    /// That of a request; without a name if nothing can learn it.
    pub fn of(request: &Extensions) -> Self {
        request.get::<Self>().cloned().unwrap_or_default()
    }

    /// The name; `None` before authentication, and for a request without a credential.
    pub fn name(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Names the tenant of a request's caller, for its line in the access log and for what counts by tenant.
pub fn set_tenant(request: &Extensions, tenant: &str) {
    if let Some(Tenant(cell)) = request.get() {
        // A second call has the same value: a request has one caller.
        drop(cell.set(tenant.to_owned()));
    }
}

/// The line of one request, written on drop.
pub struct Line {
    start: Instant,
    method: Method,
    route: Option<MatchedPath>,
    client: Option<SocketAddr>,
    tenant: Tenant,
    id: HeaderValue,
    trace_id: Option<String>,
    status: Option<StatusCode>,
    grpc_status: Option<HeaderValue>,
    bytes: u64,
    /// Whether the whole response was passed to the connection.
    complete: bool,
}

impl Line {
    /// Starts the line of a request; `None` when the access log is off.
    pub fn begin(request: &mut Request, id: &HeaderValue, trace_id: Option<String>) -> Option<Self> {
        if !tracing::enabled!(target: ACCESS_TARGET, tracing::Level::INFO) {
            return None;
        }
        let tenant = Tenant::insert(request.extensions_mut());
        Some(Self {
            start: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get().cloned(),
            client: request.extensions().get().map(|ConnectInfo(client)| *client),
            tenant,
            id: id.clone(),
            trace_id,
            status: None,
            grpc_status: None,
            bytes: 0,
            complete: false,
        })
    }

    /// Counts the bytes of the response body and writes the line at its end.
    pub fn finish_with(mut self, response: Response) -> Response {
        let status = response.status();
        self.status = Some(status);
        self.read_grpc_status(response.headers());
        let no_body =
            self.method == Method::HEAD || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        self.complete = no_body || response.body().is_end_stream();
        response.map(|body| Body::new(CountedBody { body, line: self }))
    }

    fn read_grpc_status(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(GRPC_STATUS) {
            self.grpc_status = Some(status.clone());
        }
    }

    fn is_quiet_probe(&self) -> bool {
        let probe = self.route.as_ref().is_some_and(is_probe);
        probe && self.status.is_some_and(|status| status.is_success())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_quiet_probe() {
            return;
        }
        let took = self.start.elapsed();
        tracing::info!(
            target: ACCESS_TARGET,
            method = known_method(&self.method),
            route = self.route.as_ref().map_or("none", MatchedPath::as_str),
            status = self.status.map(|status| status.as_u16()),
            grpc.status = self.grpc_status.as_ref().and_then(|status| status.to_str().ok()),
            ?took,
            bytes = self.bytes,
            request.id = self.id.to_str().unwrap_or_default(),
            trace.id = self.trace_id,
            tenant = self.tenant.name(),
            client = self.client.map(tracing::field::display),
            cut = (!self.complete).then_some(true),
            "request"
        );
    }
}

/// Whether an orchestrator calls this route frequently.
pub fn is_probe(route: &MatchedPath) -> bool {
    PROBES.contains(&route.as_str())
}

/// A known method or `other`, because a client may invent methods.
pub fn known_method(method: &Method) -> &'static str {
    let known = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

/// A body that counts its bytes.
struct CountedBody {
    body: Body,
    line: Line,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &polled {
            Some(Ok(frame)) => {
                self.line.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                if let Some(trailers) = frame.trailers_ref() {
                    self.line.read_grpc_status(trailers);
                }
                // With a known length hyper does not poll again after the last byte, and never after trailers.
                self.line.complete = self.body.is_end_stream() || frame.is_trailers();
            }
            Some(Err(_)) => {}
            None => self.line.complete = true,
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
