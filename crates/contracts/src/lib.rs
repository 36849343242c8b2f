//! Types that services share: ids, events on the log, topics, bodies of the HTTP API.
//!
//! ```text
//! frames  ── FrameEvent ──▶ detector-worker ── ResultEvent ──▶ indexer ── AlertEvent ──▶ alert-stream
//!    └ dead letters ──▶ frames.dlq                 └ dead letters ──▶ results.dlq
//! faces_uploads ── FaceUpload ──▶ faces ── FaceVerifiedEvent ──▶ faces_verified
//! media_tasks ── MediaTaskEvent ──▶ audio-worker ── MediaProgressEvent ──▶ shop-api      (the task's effects are in the database)
//! ```
//!
//! Events are CloudEvents 1.0 in Kafka's binary mode: attributes are headers (`ce_*`), the value is the payload. The crate does no
//! I/O. Each event has a golden file in `tests/golden/`, and each JSON payload a schema in `docs/schemas/`. Tests compare them with
//! the types, so a reviewer sees every change of a wire format.

pub mod alert;
pub mod api;
mod args;
pub mod asyncapi;
pub mod attributes;
pub mod blob_key;
pub mod dead_letter;
pub mod detection;
pub mod event;
pub mod face_upload;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod groups;
pub mod ids;
pub mod media;
mod money;
pub mod result;
mod retention;
pub mod rule;
pub mod schemas;
mod shop_states;
mod time;
mod topic_role;
mod topic_units;
pub mod topics;
mod transcript;
pub mod vehicle;

pub use alert::AlertEvent;
pub use args::{FaceArgs, FrameArgs, MAX_IMAGE_SIDE, StrangerArgs};
pub use attributes::{AttributeName, AttributeValue, Attributes, Vehicle};
pub use blob_key::{BlobKey, BlobKind};
pub use dead_letter::{Cause, DeadLetter, Origin};
pub use detection::{BoundingBox, Detection, Point, is_label};
pub use event::{DecodeError, Event, Headers, Message};
pub use face_upload::{FaceUpload, FaceVerifiedEvent, UploadOutcome};
pub use frame::{FrameContent, FrameEvent};
pub use ids::{
    AlertId, AlertSubject, ApiTokenId, BookId, CategorySlug, DetectionId, DetectorName, FrameId, IdError, OrderId,
    RuleId, SessionId, StreamName, SubjectId, TenantId, UploadId, UserId, VectorId, WatchlistName,
};
pub use media::{MediaProgressEvent, MediaStep, MediaTask, MediaTaskEvent, PipelineState};
pub use money::{Currency, CurrencyError, Money};
pub use result::{FailureCode, Outcome, ResultEvent};
pub use retention::{RetentionDays, RetentionError};
pub use rule::Rule;
pub use shop_states::{AssetKind, BookStatus, OrderStatus};
pub use time::whole_microseconds;
pub use topics::{Topic, TopicRole, Topics};
pub use transcript::{
    Transcript, TranscriptError, TranscriptFlag, TranscriptFormat, TranscriptSegment, TranscriptWord,
};
