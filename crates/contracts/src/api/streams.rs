//! Bodies of the routes of streams.

use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::ids::{DetectorName, StreamName};
use crate::retention::RetentionDays;

/// Settings of a stream. They replace the earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamSettings {
    /// The detectors of frames that are sent without `detectors`; null for those of the service.
    #[serde(default)]
    #[schema(min_items = 1, example = json!(["vehicle"]))]
    pub detectors: Option<Vec<String>>,
    /// Days for which results, detections, alerts and kept images are stored; null for the retention of the service. It holds for frames
    /// that are sent from now on. An image is deleted at most 25 hours after that. The log is not changed by it: it keeps alerts for 7 days
    /// and dead letters, with their images, for 14 (`topics.yaml`).
    #[serde(default)]
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 3650, example = 2)]
    pub retention_days: Option<RetentionDays>,
}

/// What a program that sends frames of a stream, such as the camera program, reports about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamReport {
    /// The state.
    pub state: ReportedState,
    /// Since when it is in this state, in RFC 3339: 1970 or later, and at most an hour ahead of the server's clock.
    #[serde(deserialize_with = "timestamp")]
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Frames sent per second, over the last interval. Default: 0.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub frames_per_second: f64,
    /// Frames sent since the program started. Default: 0.
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub frames_sent: u64,
    /// Frames that were not sent because nothing moved. Default: 0.
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub frames_skipped: u64,
    /// Frames that were not sent because the server was too slow. Default: 0.
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    pub frames_dropped: u64,
    /// The last error, without credentials: at most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub last_error: Option<String>,
}

impl StreamReport {
    /// Largest number of frames: numbers up to it are exact in every JSON parser.
    const MAX_FRAMES: u64 = (1 << 53) - 1;
    /// Largest number of frames per second.
    const MAX_RATE: f64 = 1_000_000.0;
    /// Largest number of characters of an error.
    const MAX_ERROR: usize = 500;

    /// Checks all but `since`.
    ///
    /// # Errors
    /// Names the invalid field and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..=Self::MAX_RATE).contains(&self.frames_per_second) {
            return Err(format!("frames_per_second must be a number from 0 to {}", Self::MAX_RATE));
        }
        for (name, frames) in [
            ("frames_sent", self.frames_sent),
            ("frames_skipped", self.frames_skipped),
            ("frames_dropped", self.frames_dropped),
        ] {
            if frames > Self::MAX_FRAMES {
                return Err(format!("{name} must be at most {}", Self::MAX_FRAMES));
            }
        }
        if self.last_error.as_ref().is_some_and(|error| error.chars().count() > Self::MAX_ERROR) {
            return Err(format!("last_error must have at most {} characters", Self::MAX_ERROR));
        }
        Ok(())
    }
}

/// Reads a time; the error gives an example of the format.
pub(super) fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let invalid = |_| D::Error::custom(super::NO_TIME);
    String::deserialize(deserializer)?.parse().map_err(invalid)
}

/// State of the source of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportedState {
    /// It is being connected, for the first time or again.
    Connecting,
    /// Its frames arrive.
    Connected,
    /// It cannot be used at the moment; `last_error` says why.
    Failed,
    /// It has ended for good, like a file at its end, or its program was stopped; `last_error` then begins with `stopped`.
    Ended,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StreamView {
    /// Name of the stream.
    pub name: StreamName,
    /// The detectors of frames that are sent without `detectors`; null for those of the service.
    pub detectors: Option<Vec<DetectorName>>,
    /// Days for which results, detections, alerts and kept images are stored; null for the retention of the service.
    #[schema(value_type = Option<u16>, minimum = 1, maximum = 3650)]
    pub retention_days: Option<RetentionDays>,
    /// The newest capture time among its accepted frames, some two seconds late; null if there is none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_frame_at: Option<Timestamp>,
    /// Frames accepted per second over the last minute, some two seconds late. Repeats of a frame and detections of external
    /// programs are included.
    pub frames_per_second: f64,
    /// Frames of the last hour that were accepted and have no result yet: an upper bound, because frames are counted in spans of ten
    /// seconds, and in longer ones further back. 0 means that the newest frame, as of two seconds ago, has a result. Where results are
    /// kept for less than an hour, frames whose results expired are included. It is too low for a stream that also gets detections of
    /// external programs, which have their results at once.
    pub lag: u64,
    /// What the program that sends the frames reported; null if none did.
    pub state: Option<StreamStateView>,
}

/// The last report about the source of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StreamStateView {
    /// The reported state; `unknown` if there was no report for 60 seconds, unless the stream has ended.
    pub state: StreamState,
    /// Since when it was in the reported state.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Time of the report.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Frames sent per second, as reported.
    pub frames_per_second: f64,
    /// Frames sent since the program started.
    pub frames_sent: u64,
    /// Frames that were not sent because nothing moved.
    pub frames_skipped: u64,
    /// Frames that were not sent because the server was too slow.
    pub frames_dropped: u64,
    /// The last error.
    pub last_error: Option<String>,
}

/// State of the source of a stream, as the API returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamState {
    /// It is being connected, for the first time or again.
    Connecting,
    /// Its frames arrive.
    Connected,
    /// It cannot be used at the moment; `last_error` says why.
    Failed,
    /// It has ended for good, like a file at its end.
    Ended,
    /// Its program has not reported for 60 seconds.
    Unknown,
}

impl From<ReportedState> for StreamState {
    fn from(state: ReportedState) -> Self {
        match state {
            ReportedState::Connecting => Self::Connecting,
            ReportedState::Connected => Self::Connected,
            ReportedState::Failed => Self::Failed,
            ReportedState::Ended => Self::Ended,
        }
    }
}
