//! A line of the log for each request, written when its answer is out or its client has gone.
//!
//! In it: method, route, status, time, bytes, request id, the caller's tenant where a handler tells it, and the client's
//! address. Never in it: the query, headers or bodies, which may hold credentials, and paths that are no route of ours,
//! which may hold anything. `SIGHTLINE_LOG=info,access=off` leaves these lines out.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::response::Response;
use bytes::Bytes;
use http::{Extensions, HeaderValue, Method, StatusCode};
use http_body::{Frame, SizeHint};

/// What orchestrators ask all the time: not worth a line, unless it goes wrong.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Where a handler leaves whose request it is.
#[derive(Debug, Clone, Default)]
struct Tenant(Arc<OnceLock<String>>);

/// Tells the access log whose request this is.
pub fn note_tenant(of_the_request: &Extensions, tenant: &str) {
    if let Some(Tenant(place)) = of_the_request.get() {
        // Told twice it is the same one: a request has one caller.
        drop(place.set(tenant.to_owned()));
    }
}

/// A request's line, which is written when this is dropped.
pub struct Line {
    began: Instant,
    method: Method,
    route: Option<MatchedPath>,
    client: Option<SocketAddr>,
    tenant: Tenant,
    id: HeaderValue,
    status: Option<StatusCode>,
    bytes: u64,
    /// The client has all of the answer, as far as can be told from here.
    complete: bool,
}

impl Line {
    /// Of a request that has come in; nothing when nobody wants to read it.
    pub fn begin(request: &mut Request, id: &HeaderValue) -> Option<Self> {
        if !tracing::enabled!(target: "access", tracing::Level::INFO) {
            return None;
        }
        let tenant = Tenant::default();
        request.extensions_mut().insert(tenant.clone());
        Some(Self {
            began: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get().cloned(),
            client: request.extensions().get().map(|ConnectInfo(client)| *client),
            tenant,
            id: id.clone(),
            status: None,
            bytes: 0,
            complete: false,
        })
    }

    /// Goes with an answer to its end.
    pub fn follow(mut self, response: Response) -> Response {
        let status = response.status();
        self.status = Some(status);
        let no_body =
            self.method == Method::HEAD || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
        self.complete = no_body || response.body().is_end_stream();
        response.map(|body| Body::new(Followed { body, line: self }))
    }

    fn is_quiet_probe(&self) -> bool {
        let probe = self.route.as_ref().is_some_and(|route| PROBES.contains(&route.as_str()));
        probe && self.status.is_some_and(|status| status.is_success())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_quiet_probe() {
            return;
        }
        let took = self.began.elapsed();
        tracing::info!(
            target: "access",
            method = usual(&self.method),
            route = self.route.as_ref().map_or("none", MatchedPath::as_str),
            status = self.status.map(|status| status.as_u16()),
            ?took,
            bytes = self.bytes,
            request.id = self.id.to_str().unwrap_or_default(),
            tenant = self.tenant.0.get(),
            client = self.client.map(tracing::field::display),
            cut = (!self.complete).then_some(true),
            "request"
        );
    }
}

/// The method, if it is one of the usual: a client may invent any number of others.
fn usual(method: &Method) -> &'static str {
    let known = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

/// An answer's body, counted.
struct Followed {
    body: Body,
    line: Line,
}

impl HttpBody for Followed {
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
                // Who sends it does not ask again where the length is known.
                self.line.complete = self.body.is_end_stream();
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
