//! The stored form of a stream's settings, report and activity: BSON in MongoDB, the same fields as JSON in SQLite. Times are microseconds since
//! 1970. Fields of later versions are ignored.

use std::fmt::Display;

use contracts::api::{ReportedState, StreamReport};
use contracts::{DetectorName, FrameId, RetentionDays};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FrameSpan, StoredReport, StreamActivity, StreamSettings};
use crate::StoreError;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReportDoc {
    at: i64,
    state: ReportedState,
    since: i64,
    frames_per_second: f64,
    frames_sent: i64,
    frames_skipped: i64,
    frames_dropped: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

impl ReportDoc {
    pub(super) fn of(StoredReport { report, at }: &StoredReport) -> Self {
        // A number of frames is at most 2^53.
        let signed = |frames: u64| i64::try_from(frames).unwrap_or(i64::MAX);
        Self {
            at: at.as_microsecond(),
            state: report.state,
            since: report.since.as_microsecond(),
            frames_per_second: report.frames_per_second,
            frames_sent: signed(report.frames_sent),
            frames_skipped: signed(report.frames_skipped),
            frames_dropped: signed(report.frames_dropped),
            last_error: report.last_error.clone(),
        }
    }

    pub(super) fn into_report(self) -> Result<StoredReport, StoreError> {
        let report = StreamReport {
            state: self.state,
            since: time(self.since)?,
            frames_per_second: self.frames_per_second,
            frames_sent: self.frames_sent.unsigned_abs(),
            frames_skipped: self.frames_skipped.unsigned_abs(),
            frames_dropped: self.frames_dropped.unsigned_abs(),
            last_error: self.last_error,
        };
        Ok(StoredReport { report, at: time(self.at)? })
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ActivityDoc {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_frame_at: Option<i64>,
    spans: Vec<SpanDoc>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SpanDoc {
    from: i64,
    to: i64,
    frames: i64,
    last: String,
}

impl ActivityDoc {
    pub(super) fn of(activity: &StreamActivity) -> Self {
        let span = |span: &FrameSpan| SpanDoc {
            from: span.from.as_microsecond(),
            to: span.to.as_microsecond(),
            frames: i64::try_from(span.frames).unwrap_or(i64::MAX),
            last: span.last.to_string(),
        };
        let last_frame_at = activity.last_frame_at.map(Timestamp::as_microsecond);
        Self { last_frame_at, spans: activity.spans.iter().map(span).collect() }
    }

    pub(super) fn into_activity(self) -> Result<StreamActivity, StoreError> {
        let span = |doc: SpanDoc| {
            let last: FrameId = doc.last.parse().map_err(|error| unreadable(&error))?;
            Ok(FrameSpan { from: time(doc.from)?, to: time(doc.to)?, frames: doc.frames.unsigned_abs(), last })
        };
        let last_frame_at = self.last_frame_at.map(time).transpose()?;
        Ok(StreamActivity {
            last_frame_at,
            spans: self.spans.into_iter().map(span).collect::<Result<_, StoreError>>()?,
        })
    }
}

/// Stored settings.
pub(super) fn settings(
    detectors: Option<Vec<String>>,
    retention_days: Option<i64>,
) -> Result<StreamSettings, StoreError> {
    let parsed = |name: String| name.parse::<DetectorName>().map_err(|error| unreadable(&error));
    let detectors = detectors.map(|names| names.into_iter().map(parsed).collect()).transpose()?;
    let days = |days: i64| days.to_string().parse::<RetentionDays>().map_err(|error| unreadable(&error));
    Ok(StreamSettings { detectors, retention: retention_days.map(days).transpose()? })
}

fn time(microseconds: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(microseconds).map_err(|error| unreadable(&error))
}

/// The error for a part of a stored stream.
pub(super) fn unreadable(error: &dyn Display) -> StoreError {
    StoreError::Fatal(format!("a stored stream cannot be read: {error}"))
}
