//! The trace of an alert in this service: its arrival, and its delivery to subscribers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use bus::Delivery;
use contracts::{AlertId, FrameId, Headers};
use platform::traces::{EndedSpan, Traces};

/// Number of deliveries of an alert that have a span: thousands of subscribers may get the same alert.
const MAX_DELIVERIES: u32 = 16;

/// The span of the arrival, which is the parent of those of the deliveries.
pub struct AlertTrace {
    arrival: EndedSpan,
    arrived: SystemTime,
    deliveries: AtomicU32,
}

impl AlertTrace {
    /// The trace of an alert that was read and decoded since `start`; `None` if it is not sampled, or without traces.
    pub fn of(traces: &Traces, delivery: &Delivery, start: Option<SystemTime>) -> Option<Self> {
        let arrived = traces.now()?;
        let headers = &delivery.message.headers;
        let mut span = traces.consumer("process alerts", headers.text("ce_traceparent"), start);
        set_ids(&mut span, headers);
        span.set("messaging.kafka.offset", delivery.position.offset);
        Some(Self { arrival: span.end()?, arrived, deliveries: AtomicU32::new(0) })
    }

    /// Records that a subscriber's connection has the alert, since now.
    pub fn delivered(&self) {
        if self.deliveries.fetch_add(1, Ordering::Relaxed) < MAX_DELIVERIES {
            drop(self.arrival.child_from("deliver alert", self.arrived));
        }
    }
}

/// External producers may write to the topic, so the headers are not trusted to be ids.
fn set_ids(span: &mut platform::traces::Span, headers: &Headers) {
    if let Ok(Some(id)) = headers.optional::<AlertId>("ce_id") {
        span.set_id("alert.id", id);
    }
    if let Ok(Some(id)) = headers.optional::<FrameId>("ce_subject") {
        span.set_id("frame.id", id);
    }
}
