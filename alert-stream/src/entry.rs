//! One alert as clients get it, serialised once for all of them.

use std::sync::Arc;

use accounts::Caller;
use bus::Delivery;
use bytes::Bytes;
use contracts::{AlertEvent, Event, StreamName, TenantId, Vehicle};
use serde_json::json;

use crate::cursor::Cursor;
use crate::repeats::Repeats;
use crate::sse;

/// An alert of the log, ready to be sent.
pub struct Entry {
    tenant: TenantId,
    stream: Option<StreamName>,
    label: String,
    rule: String,
    block: Bytes,
    /// The block for older clients, who know vehicles only.
    vehicle_block: Option<Bytes>,
}

/// In which shape a client wants alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `event: alert`, as contracts have it.
    Alert,
    /// `event: new_alert`, a vehicle's fields flat.
    Vehicle,
}

/// What a client may see and wants to see.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Whose alerts besides the shared; none for everybody's.
    tenant: Option<TenantId>,
    stream: Option<StreamName>,
    label: Option<String>,
    rule: Option<String>,
    shape: Shape,
}

impl Filter {
    /// Everything that a caller may see.
    pub fn of(caller: &Caller, shape: Shape) -> Self {
        let tenant = (!caller.sees_all).then(|| caller.tenant.clone());
        Self { tenant, stream: None, label: None, rule: None, shape }
    }

    /// Of it, only what has these.
    #[must_use]
    pub fn only(self, stream: Option<StreamName>, label: Option<String>, rule: Option<String>) -> Self {
        Self { stream, label, rule, ..self }
    }

    /// What is sent of an alert, if anything.
    pub fn block<'a>(&self, entry: &'a Entry) -> Option<&'a Bytes> {
        let may_see = self.tenant.as_ref().is_none_or(|own| *own == entry.tenant || entry.is_shared());
        let wants = self.stream.as_ref().is_none_or(|stream| entry.stream.as_ref() == Some(stream))
            && self.label.as_ref().is_none_or(|label| *label == entry.label)
            && self.rule.as_ref().is_none_or(|rule| *rule == entry.rule);
        if !may_see || !wants {
            return None;
        }
        match self.shape {
            Shape::Alert => Some(&entry.block),
            Shape::Vehicle => entry.vehicle_block.as_ref(),
        }
    }
}

impl Entry {
    fn is_shared(&self) -> bool {
        self.tenant.as_str() == "shared"
    }

    fn new(alert: AlertEvent, cursor: &Cursor) -> Option<Self> {
        let AlertEvent { tenant, data, .. } = alert;
        let json = serde_json::to_string(&data).ok()?;
        let Vehicle { category, make, model, year } = data.attributes.vehicle();
        let vehicle_block = data.attributes.is_vehicle().then(|| {
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
        let block = sse::event("alert", cursor, &json);
        Some(Self { tenant, stream: data.stream, label: data.label, rule: data.rule, block, vehicle_block })
    }
}

/// What a record of the log turned out to be.
pub enum Judged {
    /// An alert that was not there before.
    Alert(Entry),
    /// An alert that was.
    Repeat,
    /// Not an alert at all.
    Unreadable,
}

/// Judges the records of one log, in their order.
pub struct Judge {
    incarnation: Arc<str>,
    repeats: Repeats,
}

impl Judge {
    /// A judge that has seen nothing yet.
    pub fn new(incarnation: Arc<str>) -> Self {
        Self { incarnation, repeats: Repeats::default() }
    }

    /// Judges the next record.
    pub fn judge(&mut self, delivery: &Delivery) -> Judged {
        let offset = delivery.position.offset;
        let Ok(alert) = AlertEvent::from_message(&delivery.message) else { return Judged::Unreadable };
        if self.repeats.is_repeat(offset, alert.data.id) {
            return Judged::Repeat;
        }
        let cursor = Cursor { incarnation: Arc::clone(&self.incarnation), offset };
        Entry::new(alert, &cursor).map_or(Judged::Unreadable, Judged::Alert)
    }
}
