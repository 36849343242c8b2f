//! What every room agrees on: ids, events on the log, topics, and the bodies of the HTTP interface.
//!
//! ```text
//! frames  ── FrameEvent ──▶ detector-worker ── ResultEvent ──▶ indexer ── AlertEvent ──▶ alert-stream
//!    └ cannot be processed ──▶ frames.dlq          └ cannot be read ──▶ results.dlq
//! ```
//!
//! Events are CloudEvents 1.0 in Kafka's binary mode: attributes are headers (`ce_*`), the value is the payload.
//! Nothing here does I/O. Each event has a golden file under `tests/golden/` and a JSON Schema under `docs/schemas/`,
//! both held in step by a test, so a change of the wire format is a change of a file that a reviewer sees.

pub mod alert;
pub mod api;
mod args;
pub mod asyncapi;
pub mod attributes;
pub mod blob_key;
pub mod dead_letter;
pub mod detection;
pub mod event;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod groups;
pub mod ids;
pub mod result;
pub mod rule;
pub mod schemas;
pub mod topics;
pub mod vehicle;

pub use alert::AlertEvent;
pub use args::FrameArgs;
pub use attributes::{AttributeName, AttributeValue, Attributes, Vehicle};
pub use blob_key::{BlobKey, BlobKind};
pub use dead_letter::{Cause, DeadLetter, Origin};
pub use detection::{BoundingBox, Detection, Point};
pub use event::{DecodeError, Event, Headers, Message};
pub use frame::{FrameContent, FrameEvent};
pub use ids::{
    AlertId, AlertSubject, ApiTokenId, DetectionId, DetectorName, FrameId, IdError, RuleId, SessionId, StreamName,
    TenantId, UserId,
};
pub use result::{FailureCode, Outcome, ResultEvent};
pub use rule::Rule;
pub use topics::{Topic, TopicRole, Topics};
