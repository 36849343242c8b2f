//! The span of a request. The handler finds it in the header `traceparent`, which this module sets, as it finds the id of the request.

use axum::extract::{MatchedPath, Request};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::access::{is_probe, known_method};
use crate::traces::{Span, TRACEPARENT_LENGTH, Traces, is_traceparent};

/// Header of requests, in W3C Trace Context.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The `traceparent` of a request, without the parts that only later versions have, whose length has no bound; `None` if it is
/// missing, malformed or repeated.
pub fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let text = values.next()?.to_str().ok()?;
    let is_valid = values.next().is_none() && is_traceparent(text);
    text.get(..TRACEPARENT_LENGTH).filter(|_| is_valid)
}

/// The span of a request, from its head to the head of its response: a stream of alerts has no end.
pub struct RequestSpan(Span);

impl RequestSpan {
    /// Continues the client's trace or begins one. Without traces, the request is not changed.
    pub fn begin(traces: &Traces, request: &mut Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        if !traces.are_on() || route.is_some_and(is_probe) {
            return Self(Span::none());
        }
        let method = known_method(request.method());
        let name = || route.map_or_else(|| method.to_owned(), |route| format!("{method} {}", route.as_str()));
        let mut span = traces.server(name, traceparent(request.headers()));
        span.set("http.request.method", method);
        if let Some(route) = route {
            // The pattern and not the path, which may have credentials.
            span.set_id("http.route", route.as_str());
        }
        if let Some(own) = span.traceparent().and_then(|text| HeaderValue::try_from(text).ok()) {
            request.headers_mut().insert(TRACEPARENT, own);
        }
        Self(span)
    }

    /// The id of the trace, for the access log.
    pub fn trace_id(&self) -> Option<String> {
        self.0.trace_id()
    }

    /// Ends the span with the status of the response.
    pub fn finish(self, status: StatusCode) {
        let Self(mut span) = self;
        span.set("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.fail(status.as_str());
        }
    }
}
