//! One alert as an event of the stream, serialised once for all clients.

use std::sync::Arc;

use accounts::Caller;
use bus::Delivery;
use bytes::Bytes;
use contracts::alert::AlertData;
use contracts::{AlertEvent, Event, StreamName, TenantId, Vehicle};
use serde_json::json;

use crate::alert_trace::AlertTrace;
use crate::cursor::AlertCursor;
use crate::dedup::Deduplicator;
use crate::sse;

/// An alert of the log, ready to be sent.
pub struct AlertEntry {
    tenant: TenantId,
    stream: Option<StreamName>,
    label: String,
    rule: String,
    event: Bytes,
    /// The event for older clients, which only know vehicles.
    vehicle_event: Option<Bytes>,
    /// Set if traces are on.
    trace: Option<Box<AlertTrace>>,
}

/// The shape in which a client gets alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertShape {
    /// `event: alert`, the JSON of [`contracts::alert::AlertData`].
    Alert,
    /// `event: new_alert`, with the vehicle's fields at the top level.
    Vehicle,
}

/// Selects the alerts that a client may read and requested.
#[derive(Debug, Clone)]
pub struct AlertFilter {
    /// The tenant whose alerts are visible besides the shared ones; `None` for all tenants.
    tenant: Option<TenantId>,
    stream: Option<StreamName>,
    label: Option<String>,
    rule: Option<String>,
    shape: AlertShape,
}

impl AlertFilter {
    /// A filter for all alerts that a caller may read.
    pub fn of(caller: &Caller, shape: AlertShape) -> Self {
        let tenant = (!caller.reads_all_tenants).then(|| caller.tenant.clone());
        Self { tenant, stream: None, label: None, rule: None, shape }
    }

    /// Narrows the filter to a stream, a label and a rule.
    #[must_use]
    pub fn only(self, stream: Option<StreamName>, label: Option<String>, rule: Option<String>) -> Self {
        Self { stream, label, rule, ..self }
    }

    /// The event to send for an alert; `None` if the filter does not match, or an older client cannot show it.
    pub fn event<'a>(&self, entry: &'a AlertEntry) -> Option<&'a Bytes> {
        let may_see = self.tenant.as_ref().is_none_or(|own| *own == entry.tenant || entry.is_shared());
        let wants = self.stream.as_ref().is_none_or(|stream| entry.stream.as_ref() == Some(stream))
            && self.label.as_ref().is_none_or(|label| *label == entry.label)
            && self.rule.as_ref().is_none_or(|rule| *rule == entry.rule);
        if !may_see || !wants {
            return None;
        }
        match self.shape {
            AlertShape::Alert => Some(&entry.event),
            AlertShape::Vehicle => entry.vehicle_event.as_ref(),
        }
    }
}

impl AlertEntry {
    fn is_shared(&self) -> bool {
        self.tenant.as_str() == "shared"
    }

    fn new(alert: AlertEvent, cursor: &AlertCursor) -> Option<Self> {
        let AlertEvent { tenant, data, .. } = alert;
        let json = serde_json::to_string(&data).ok()?;
        let Vehicle { category, make, model, year } = data.attributes.vehicle();
        let vehicle_event = data.attributes.is_vehicle().then(|| {
            let flat = json!({
                "id": data.id,
                "year": year,
                "make": make,
                "model": model,
                "category": category,
                "created_at": data.captured_at,
                "stream": data.stream,
                "label": data.label,
                "confidence": data.confidence,
                "rule": data.rule,
                "frame_id": data.frame_id,
            });
            sse::event("new_alert", cursor, &flat)
        });
        let event = sse::event("alert", cursor, &json);
        let AlertData { stream, label, rule, .. } = data;
        Some(Self { tenant, stream, label, rule, event, vehicle_event, trace: None })
    }

    /// The alert with its trace.
    #[must_use]
    pub fn traced(self, trace: Option<AlertTrace>) -> Self {
        Self { trace: trace.map(Box::new), ..self }
    }

    /// Records that a subscriber's connection has the alert.
    pub fn delivered(&self) {
        if let Some(trace) = &self.trace {
            trace.delivered();
        }
    }
}

/// A record of the alerts topic, decoded.
pub enum DecodedRecord {
    /// An alert.
    New(AlertEntry),
    /// A duplicate of an alert.
    Duplicate,
    /// Not an alert.
    Unreadable,
}

/// Decodes the records of one alerts topic, in the order of their offsets.
pub struct AlertDecoder {
    topic_id: Arc<str>,
    dedup: Deduplicator,
}

impl AlertDecoder {
    /// A decoder before the first record.
    pub fn new(topic_id: Arc<str>) -> Self {
        Self { topic_id, dedup: Deduplicator::default() }
    }

    /// Decodes the next record.
    pub fn decode(&mut self, delivery: &Delivery) -> DecodedRecord {
        let offset = delivery.position.offset;
        let Ok(alert) = AlertEvent::from_message(&delivery.message) else { return DecodedRecord::Unreadable };
        if self.dedup.is_duplicate(offset, alert.data.id) {
            return DecodedRecord::Duplicate;
        }
        let cursor = AlertCursor { topic_id: Arc::clone(&self.topic_id), offset };
        AlertEntry::new(alert, &cursor).map_or(DecodedRecord::Unreadable, DecodedRecord::New)
    }
}
