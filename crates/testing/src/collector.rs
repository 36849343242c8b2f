//! An OpenTelemetry collector in the test's process: it accepts traces by OTLP over HTTP as protobuf, and keeps the spans.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, status::StatusCode as SpanStatus};
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A span as the collector got it.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedSpan {
    /// The service of the process, or of the part of `sightline up`.
    pub service: String,
    /// Its name.
    pub name: String,
    /// The id of its trace, in hexadecimal digits.
    pub trace: String,
    /// Its id, in hexadecimal digits.
    pub id: String,
    /// The id of its parent; empty for the root of a trace.
    pub parent: String,
    /// Whether its status is an error.
    pub failed: bool,
    /// Start and end, in nanoseconds since 1970.
    pub time: (u64, u64),
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
}

/// A running collector. It ends when it is dropped.
pub struct Collector {
    received: Arc<Received>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

struct Received {
    spans: Mutex<Vec<CollectedSpan>>,
    headers: Mutex<HeaderMap>,
    status: AtomicU16,
}

impl Collector {
    /// A collector on a free port.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    /// A collector at an address, as after a restart.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Received {
            spans: Mutex::default(),
            headers: Mutex::default(),
            status: AtomicU16::new(StatusCode::OK.as_u16()),
        };
        let received = Arc::new(received);
        let routes = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&received));
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { received, address, task }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The value of `SIGHTLINE_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, it refuses spans with this status.
    pub fn refuse(&self, status: u16) {
        self.received.status.store(status, Ordering::Relaxed);
    }

    /// The spans so far, in the order of arrival.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        self.received.spans.lock().unwrap().clone()
    }

    /// The headers of the last request.
    pub fn headers(&self) -> HeaderMap {
        self.received.headers.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(received): State<Arc<Received>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
    let status = StatusCode::from_u16(received.status.load(Ordering::Relaxed)).unwrap();
    if !status.is_success() {
        return (status, Bytes::new());
    }
    if headers.get("content-type").is_none_or(|kind| kind != "application/x-protobuf") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, Bytes::new());
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return (StatusCode::BAD_REQUEST, Bytes::new()) };
    *received.headers.lock().unwrap() = headers;
    received.spans.lock().unwrap().extend(request.resource_spans.into_iter().flat_map(spans_of));
    (StatusCode::OK, Bytes::new())
}

fn spans_of(group: ResourceSpans) -> Vec<CollectedSpan> {
    let attributes = texts(group.resource.unwrap().attributes);
    let service = &attributes["service.name"];
    let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(|span| collected(service, span)).collect()
}

fn collected(service: &str, span: Span) -> CollectedSpan {
    CollectedSpan {
        service: service.to_owned(),
        name: span.name,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        failed: span.status.is_some_and(|status| status.code == SpanStatus::Error as i32),
        time: (span.start_time_unix_nano, span.end_time_unix_nano),
        attributes: texts(span.attributes),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
