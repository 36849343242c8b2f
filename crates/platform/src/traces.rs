//! Traces: the spans of one request, from its arrival to the delivery of its alerts, across all services.
//!
//! ```text
//! ingest-api          detector-worker         indexer                        alert-stream
//! POST /v1/frames
//!   └ send frames ──▶ process frames
//!                       ├ decode, detect
//!                       └ send results ─────▶ process results
//!                                               ├ evaluate rules, put documents
//!                                               └ send alerts ────────────▶ process alerts
//!                                                                             └ deliver alert
//! ```
//!
//! In: the `traceparent` of a request or a message. Out: spans by OTLP, and the `traceparent` of what is sent. Spans have ids, sizes,
//! counts and outcomes, and nothing that a user wrote.
//!
//! Guarantees: traces are off by default, and then a [`Span`] is `None`, allocates nothing, and no header is added. Exporting never waits:
//! spans beyond the bound of the queue are dropped and counted ([`TraceExporter`]).
//!
//! A service starts each span itself instead of using spans of `tracing` ([decision](../../../docs/decisions/traces.md)).

mod exporter;
mod parent;

use std::time::SystemTime;

use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

pub use exporter::TraceExporter;
pub use parent::{TRACEPARENT_LENGTH, is_traceparent};

/// Starts the spans of one service, if traces are on. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<SdkTracer>);

impl Traces {
    /// No spans.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Whether traces are on.
    pub const fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// The time of a start that is used later; `None` when traces are off.
    pub fn now(&self) -> Option<SystemTime> {
        self.0.as_ref().map(|_| SystemTime::now())
    }

    /// The span of an HTTP request. `name` is its method and its route.
    pub fn server(&self, name: impl FnOnce() -> String, traceparent: Option<&str>) -> Span {
        self.remote(SpanKind::Server, traceparent, || SpanBuilder::from_name(name()))
    }

    /// The span of a message that is sent. `name` is `send` and the topic's role.
    pub fn producer(&self, name: &'static str, traceparent: Option<&str>) -> Span {
        self.remote(SpanKind::Producer, traceparent, || SpanBuilder::from_name(name))
    }

    /// The span of a message that was received, from `start` on. `name` is `process` and the topic's role.
    pub fn consumer(&self, name: &'static str, traceparent: Option<&str>, start: Option<SystemTime>) -> Span {
        self.remote(SpanKind::Consumer, traceparent, || SpanBuilder {
            start_time: start,
            ..SpanBuilder::from_name(name)
        })
    }

    /// A span below another process' span. Without a valid `traceparent` it begins a trace.
    fn remote(&self, kind: SpanKind, traceparent: Option<&str>, builder: impl FnOnce() -> SpanBuilder) -> Span {
        let Some(tracer) = &self.0 else { return Span::none() };
        let context = traceparent.and_then(parent::parse).map_or_else(Context::new, below);
        Span::start(tracer, builder().with_kind(kind), &context)
    }
}

/// The work of a service on one request or message, or a part of it. It ends when it is dropped.
#[derive(Debug, Default)]
pub struct Span(Option<Box<Started>>);

#[derive(Debug)]
struct Started {
    span: SdkSpan,
    tracer: SdkTracer,
}

impl Span {
    /// No span: traces are off.
    pub const fn none() -> Self {
        Self(None)
    }

    fn start(tracer: &SdkTracer, builder: SpanBuilder, context: &Context) -> Self {
        let span = tracer.build_with_context(builder, context);
        Self(Some(Box::new(Started { span, tracer: tracer.clone() })))
    }

    /// Whether the span is exported: traces are on, and this trace was sampled.
    pub fn is_recording(&self) -> bool {
        self.0.as_ref().is_some_and(|started| started.span.is_recording())
    }

    /// A part of this work.
    pub fn child(&self, name: &'static str) -> Self {
        self.child_from(name, None)
    }

    /// A part of this work that began at `start`.
    pub fn child_from(&self, name: &'static str, start: Option<SystemTime>) -> Self {
        match &self.0 {
            Some(started) if started.span.is_recording() => {
                let builder = SpanBuilder { start_time: start, ..SpanBuilder::from_name(name) };
                Self::start(&started.tracer, builder, &below(started.span.span_context().clone()))
            }
            // A part of a trace that was not sampled has nothing to pass on.
            _ => Self::none(),
        }
    }

    /// The span of a message that this work sends. `name` is `send` and the topic's role.
    pub fn producer(&self, name: &'static str) -> Self {
        let Some(started) = &self.0 else { return Self::none() };
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Producer);
        Self::start(&started.tracer, builder, &below(started.span.span_context().clone()))
    }

    /// Ends the span. The parts that begin after that are started with what is returned; `None` if the span is not exported.
    pub fn end(self) -> Option<EndedSpan> {
        let started = self.0.filter(|started| started.span.is_recording())?;
        let Started { span, tracer } = *started;
        Some(EndedSpan { context: span.span_context().clone(), tracer })
    }

    /// What a message or a request that belongs to this span carries; `None` when traces are off.
    pub fn traceparent(&self) -> Option<String> {
        self.0.as_ref().map(|started| parent::format(started.span.span_context()))
    }

    /// The id of the trace, for the log.
    pub fn trace_id(&self) -> Option<String> {
        self.0.as_ref().map(|started| started.span.span_context().trace_id().to_string())
    }

    /// Adds an attribute: an id, a size, a count or an outcome. Never a text of a user.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(started) = &mut self.0 {
            started.span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Adds an id as an attribute. It is formatted only if the span is exported.
    pub fn set_id(&mut self, name: &'static str, id: impl std::fmt::Display) {
        if self.is_recording() {
            self.set(name, id.to_string());
        }
    }

    /// Adds a number as an attribute.
    pub fn set_count(&mut self, name: &'static str, count: usize) {
        self.set(name, i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Marks the work as failed, with a stable code.
    pub fn fail(&mut self, code: &str) {
        if let Some(started) = self.0.as_mut().filter(|started| started.span.is_recording()) {
            started.span.set_attribute(KeyValue::new("error.type", code.to_owned()));
            started.span.set_status(Status::error(""));
        }
    }
}

/// A span that has ended, and is still the parent of spans that begin.
#[derive(Debug)]
pub struct EndedSpan {
    context: SpanContext,
    tracer: SdkTracer,
}

impl EndedSpan {
    /// A part of the work that began at `start`.
    pub fn child_from(&self, name: &'static str, start: SystemTime) -> Span {
        let builder = SpanBuilder { start_time: Some(start), ..SpanBuilder::from_name(name) };
        Span::start(&self.tracer, builder, &below(self.context.clone()))
    }
}

/// The context of a span below this one.
fn below(parent: SpanContext) -> Context {
    Context::new().with_remote_span_context(parent)
}
