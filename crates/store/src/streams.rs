//! Streams of tenants: the collection `streams`, in SQLite and in MongoDB.
//!
//! A stream is there because its tenant set it up, because a program reported its state, or because frames were sent. Without
//! settings it expires a week after its last frame or report, so that names that are used once do not stay for ever.

mod activity;
mod mongo;
mod sqlite;
mod stored_docs;

use std::collections::HashSet;

use async_trait::async_trait;
use contracts::api::StreamReport;
use contracts::{DetectorName, FrameId, RetentionDays, StreamName, TenantId};
use jiff::{SignedDuration, Timestamp};

use crate::results::StoreError;

pub use activity::{FrameSpan, LagSearch, StreamActivity};

/// Time after the last frame or report at which a stream without settings expires.
const EXPIRES_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Time without a frame and a report after which the report of a new stream may take the place of a stream without settings. Longer
/// than a night, so that a client that reports many names displaces no camera that sends each day.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A stored stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredStream {
    /// Its name, unique within the tenant.
    pub name: StreamName,
    /// What applies to its frames.
    pub settings: StreamSettings,
    /// What a program reported last.
    pub report: Option<StoredReport>,
    /// The frames that were sent lately.
    pub activity: StreamActivity,
}

/// A report about the source of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredReport {
    /// The report.
    pub report: StreamReport,
    /// When it arrived.
    pub at: Timestamp,
}

/// What applies to the frames of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamSettings {
    /// The detectors of frames that name none; `None` for those of the service.
    pub detectors: Option<Vec<DetectorName>>,
    /// How long results and images are kept; `None` for the retention of the service.
    pub retention: Option<RetentionDays>,
}

/// The settings of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsOfStream {
    /// Owner of the stream.
    pub tenant: TenantId,
    /// Name of the stream.
    pub stream: StreamName,
    /// Its settings.
    pub settings: StreamSettings,
}

/// Frames of one stream that were accepted one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentFrames {
    /// Owner of the stream.
    pub tenant: TenantId,
    /// Name of the stream.
    pub stream: StreamName,
    /// The newest capture time among them.
    pub captured_at: Timestamp,
    /// Their number, and when they were accepted.
    pub span: FrameSpan,
}

/// Outcome of storing the settings or a report of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutStreamOutcome {
    /// It is stored.
    Stored,
    /// The tenant has as many streams as it may have, and none may make room; nothing was stored.
    Full,
}

/// Streams of tenants. Of each tenant at most `most` are stored, where a method has that argument.
#[async_trait]
pub trait StreamStore: Send + Sync {
    /// The settings of all streams of all tenants that set detectors or a retention.
    async fn stream_settings(&self) -> Result<Vec<SettingsOfStream>, StoreError>;

    /// A page of the streams of a tenant, ordered by name.
    async fn streams(
        &self,
        tenant: &TenantId,
        after: Option<&StreamName>,
        limit: u32,
    ) -> Result<Vec<StoredStream>, StoreError>;

    /// A stream of a tenant.
    async fn stream(&self, tenant: &TenantId, name: &StreamName) -> Result<Option<StoredStream>, StoreError>;

    /// Replaces the settings of a stream, which is created if it does not exist, and does not expire from now on. If there is no room, the
    /// stream without settings that would expire first makes room.
    async fn put_stream(
        &self,
        tenant: &TenantId,
        name: &StreamName,
        settings: &StreamSettings,
        most: usize,
    ) -> Result<PutStreamOutcome, StoreError>;

    /// Stores a report in the place of the last one. A stream that does not exist is created, without settings. If there is no room, a
    /// stream without settings makes room that had no frame and no report for a day.
    async fn put_report(
        &self,
        tenant: &TenantId,
        name: &StreamName,
        report: &StoredReport,
        most: usize,
    ) -> Result<PutStreamOutcome, StoreError>;

    /// Adds frames to their streams, at most one item for each stream. A stream that does not exist is created while there is room;
    /// otherwise its frames are not recorded.
    async fn record_frames(&self, sent: &[SentFrames], most: usize) -> Result<(), StoreError>;

    /// Deletes a stream with its settings and its report. Its frames stay. Returns whether it existed.
    async fn delete_stream(&self, tenant: &TenantId, name: &StreamName) -> Result<bool, StoreError>;

    /// Those of these frames that have a result of any detector.
    async fn frames_with_results(&self, frames: &[FrameId]) -> Result<HashSet<FrameId>, StoreError>;
}

/// Latest expiry of a stream that may make room for a report now: it has no settings and was silent for a day.
fn expiry_of_silent() -> Timestamp {
    expiry(Timestamp::now().checked_sub(KEPT_FOR).unwrap_or(Timestamp::MIN))
}

/// When a stream without settings expires, if it sent a frame or a report at this time.
fn expiry(at: Timestamp) -> Timestamp {
    at.checked_add(EXPIRES_AFTER).unwrap_or(Timestamp::MAX)
}
