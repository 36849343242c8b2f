//! Exports spans by OTLP over HTTP.
//!
//! ```text
//! spans that ended ──▶ queue (4,096) ──▶ one task: batches of 512, at least every second ──▶ POST <endpoint>/v1/traces
//!                        └ full: dropped                                    └ refused three times: dropped
//! ```
//!
//! One task serves all services of the process, which `sightline up` has four of. While the collector cannot be reached, the queue
//! fills, further spans are dropped and counted, and the log has one line when that begins and one when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use metrics::{Counter, counter};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context as SpanParent, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor};
use prost::Message;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Traces;
use crate::config::TraceArgs;
use crate::error_chain;
use crate::retry::Backoff;

/// Maximum number of spans that wait; some 1.5 KB each.
const QUEUE: usize = 4_096;
/// Maximum number of spans of a request.
const BATCH: usize = 512;
/// Longest time that a span waits for a batch to fill.
const LINGER: Duration = Duration::from_secs(1);
/// Time limit of a request to the collector.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Number of attempts to send a batch.
const ATTEMPTS: u32 = 3;
/// Pauses between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
/// Time limit of sending what is left after a stop.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest response of a collector that is read, in bytes.
const MAX_RESPONSE: u64 = 64 << 10;

/// The name of the service a span belongs to, and the span.
type EndedSpan = (&'static str, SpanData);

/// Exports the spans of a process, if a collector is set.
pub struct TraceExporter(Option<Running>);

struct Running {
    queue: mpsc::Sender<EndedSpan>,
    sampled: f64,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl TraceExporter {
    /// Starts to export to the collector of the settings; does nothing if there is none.
    ///
    /// # Errors
    /// When a setting is invalid.
    pub fn start(settings: &TraceArgs) -> anyhow::Result<Self> {
        let Some(endpoint) = &settings.otlp_endpoint else { return Ok(Self(None)) };
        let collector = Collector::new(endpoint, settings.headers()?)?;
        let (queue, spans) = mpsc::channel(QUEUE);
        let stop = CancellationToken::new();
        tracing::info!(endpoint = %collector.url, sampled = settings.traces_sample_ratio, "exporting traces");
        let task = tokio::spawn(ExportTask { spans, collector, stop: stop.clone() }.run());
        Ok(Self(Some(Running { queue, sampled: settings.traces_sample_ratio, stop, task })))
    }

    /// Starts the spans of one service of this process.
    pub fn service(&self, name: &'static str) -> Traces {
        let Some(Running { queue, sampled, .. }) = &self.0 else { return Traces::off() };
        let queue = SpanQueue { service: name, queue: queue.clone(), dropped: dropped("queue_full") };
        // A client that sends `traceparent` has decided whether its trace is sampled, and so has the service before this one.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(*sampled)));
        let provider = SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(queue);
        Traces(Some(provider.with_resource(Resource::builder_empty().build()).build().tracer("sightline")))
    }

    /// Sends the spans that have ended, within a time limit.
    pub async fn close(self) {
        let Some(Running { stop, task, .. }) = self.0 else { return };
        stop.cancel();
        let abort = task.abort_handle();
        if timeout(FLUSH_TIMEOUT, task).await.is_err() {
            abort.abort();
            tracing::warn!("the last spans could not be exported within {FLUSH_TIMEOUT:?}; they are dropped");
        }
    }
}

/// Puts spans that ended into the queue. The batch processor of the SDK has a thread for each service, and does not count what it drops.
#[derive(Debug)]
struct SpanQueue {
    service: &'static str,
    queue: mpsc::Sender<EndedSpan>,
    dropped: Counter,
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &SpanParent) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.try_send((self.service, span)).is_err() {
            self.dropped.increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The task that sends batches.
struct ExportTask {
    spans: mpsc::Receiver<EndedSpan>,
    collector: Collector,
    stop: CancellationToken,
}

impl ExportTask {
    async fn run(mut self) {
        let stop = self.stop.clone();
        let mut batch = Vec::new();
        while stop.run_until_cancelled(self.fill(&mut batch)).await == Some(true) {
            self.collector.export(std::mem::take(&mut batch), ATTEMPTS, &stop).await;
        }
        // A last attempt for each batch: nobody waits for a collector that is away.
        self.spans.close();
        while !batch.is_empty() || self.spans.recv_many(&mut batch, BATCH).await > 0 {
            self.collector.export(std::mem::take(&mut batch), 1, &stop).await;
        }
    }

    /// Waits for a span, and then until the batch is full or the span has waited long enough. Returns `false` when no span can come any
    /// more. Cancel-safe.
    async fn fill(&mut self, batch: &mut Vec<EndedSpan>) -> bool {
        if self.spans.recv_many(batch, BATCH).await == 0 {
            return false;
        }
        let due = Instant::now() + LINGER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            match tokio::time::timeout_at(due, self.spans.recv_many(batch, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        true
    }
}

/// The collector, and what is known about it.
struct Collector {
    url: Url,
    client: reqwest::Client,
    resources: BTreeMap<&'static str, Arc<ResourceAttributesWithSchema>>,
    /// Number of spans dropped since the collector went away; `None` while it answers.
    away: Option<usize>,
    exported: Counter,
}

/// Why a batch was not accepted.
enum ExportError {
    /// It may be accepted later.
    Transient(String),
    /// It will never be accepted.
    Permanent(String),
}

impl Collector {
    fn new(endpoint: &Url, headers: HeaderMap) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("SIGHTLINE_OTLP_ENDPOINT")?;
        let mut url = endpoint.clone();
        url.set_path(&format!("{}/v1/traces", endpoint.path().trim_end_matches('/')));
        let exported = counter!("sightline_trace_spans_exported_total");
        Ok(Self { url, client, resources: BTreeMap::new(), away: None, exported })
    }

    /// Sends a batch, with retries until `stop`. A batch that is not accepted is dropped.
    async fn export(&mut self, batch: Vec<EndedSpan>, attempts: u32, stop: &CancellationToken) {
        let spans = batch.len();
        let body = self.encode(batch);
        let mut backoff = BACKOFF;
        for attempt in 1.. {
            let error = match self.post(body.clone()).await {
                Ok(rejected) => return self.accepted(spans, rejected),
                Err(ExportError::Transient(error)) if attempt < attempts && !stop.is_cancelled() => error,
                Err(ExportError::Transient(error) | ExportError::Permanent(error)) => {
                    dropped("collector").increment(spans as u64);
                    self.went_away(&error);
                    self.away = self.away.map(|before| before + spans);
                    return;
                }
            };
            self.went_away(&error);
            // The stop only shortens the pause.
            stop.run_until_cancelled(sleep(backoff.pause())).await;
        }
    }

    fn accepted(&mut self, spans: usize, rejected: usize) {
        self.exported.increment(spans.saturating_sub(rejected) as u64);
        dropped("rejected").increment(rejected as u64);
        if let Some(lost) = self.away.take() {
            tracing::warn!(spans.dropped = lost, "the collector of traces accepts spans again");
        }
    }

    fn went_away(&mut self, error: &str) {
        if self.away.is_none() {
            self.away = Some(0);
            tracing::warn!(
                error,
                "SIGHTLINE_OTLP_ENDPOINT: the collector does not accept spans; they wait in a bounded queue, and are dropped beyond it"
            );
        }
    }

    /// The request with all spans, grouped by service.
    fn encode(&mut self, batch: Vec<EndedSpan>) -> Bytes {
        let mut by_service = BTreeMap::<&str, Vec<SpanData>>::new();
        for (service, span) in batch {
            self.resources.entry(service).or_insert_with(|| Arc::new(resource(service)));
            by_service.entry(service).or_default().push(span);
        }
        let resource_spans = by_service.into_iter().flat_map(|(service, spans)| {
            let resource = self.resources.get(service).cloned().unwrap_or_default();
            group_spans_by_resource_and_scope(spans, &resource)
        });
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec().into()
    }

    /// Sends a request. Returns the number of spans that the collector rejected.
    async fn post(&self, body: Bytes) -> Result<usize, ExportError> {
        let transient = |error: reqwest::Error| ExportError::Transient(error_chain(&error.without_url()));
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        let response = request.send().await.map_err(transient)?;
        match response.status() {
            status if status.is_success() => {}
            status if is_transient(status) => return Err(ExportError::Transient(format!("status {status}"))),
            status => return Err(ExportError::Permanent(format!("status {status}"))),
        }
        if response.content_length().is_none_or(|length| length > MAX_RESPONSE) {
            return Ok(0);
        }
        let Ok(body) = response.bytes().await else { return Ok(0) };
        let rejected = ExportTraceServiceResponse::decode(body).ok().and_then(|response| response.partial_success);
        Ok(rejected.map_or(0, |partial| usize::try_from(partial.rejected_spans).unwrap_or(0)))
    }
}

/// The statuses after which the OTLP specification lets a client try again.
fn is_transient(status: StatusCode) -> bool {
    [429, 502, 503, 504].contains(&status.as_u16())
}

fn dropped(reason: &'static str) -> Counter {
    counter!("sightline_trace_spans_dropped_total", "reason" => reason)
}

/// What the collector shows as the origin of a service's spans.
fn resource(service: &'static str) -> ResourceAttributesWithSchema {
    let attributes = [
        KeyValue::new("service.namespace", "sightline"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ];
    (&Resource::builder_empty().with_service_name(service).with_attributes(attributes).build()).into()
}
