//! Bodies of the HTTP API, for the services and for the command that calls them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::alert::AlertData;
use crate::attributes::{AttributeName, AttributeValue, Attributes, Vehicle, extra_attributes_schema, null_as_empty};
use crate::detection::{BoundingBox, Detection, Point};
use crate::ids::{DetectorName, FrameId, RuleId, StreamName};
use crate::result::FailureCode;

/// An error (RFC 9457, problem details).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`; `code` identifies the problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// Reason phrase of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable code, such as `unsupported_media_type`.
    pub code: String,
    /// What went wrong and what to do.
    pub detail: String,
    /// Id of the request in the log output, as in the header `X-Request-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A page of a list, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// Items of the page.
    pub items: Vec<T>,
    /// Value of `cursor=` for the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A frame was accepted. It will be processed even after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FrameAccepted {
    /// Id of the frame.
    pub frame_id: FrameId,
    /// Stream of the frame, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Capture time, or the time of arrival. Missing if the request has an idempotency key and no capture time: the frame may have
    /// been sent before, with another time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub captured_at: Option<Timestamp>,
    /// Detectors that will process the frame.
    pub detectors: Vec<DetectorName>,
    /// Path of the results.
    pub results_url: String,
}

/// A frame with the results that are stored so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FrameView {
    /// Id of the frame.
    pub frame_id: FrameId,
    /// Stream of the frame, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Capture time of the image.
    #[schema(value_type = String, format = DateTime)]
    pub captured_at: Timestamp,
    /// Width of the upright image in pixels; 0 if unknown.
    pub width: u32,
    /// Height of the upright image in pixels; 0 if unknown.
    pub height: u32,
    /// Detections of all detectors.
    pub detections: Vec<DetectionView>,
    /// Result of each detector.
    pub results: Vec<ResultView>,
    /// Path of the image, while it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
}

/// The result of one detector on a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResultView {
    /// The detector.
    pub detector: DetectorName,
    /// The model that ran.
    pub model: String,
    /// `ok` or `failed`.
    pub status: ResultStatus,
    /// Number of detections.
    pub count: u32,
    /// Time when the detector finished.
    #[schema(value_type = String, format = DateTime)]
    pub processed_at: Timestamp,
    /// Cause of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ResultError>,
}

/// Status of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultStatus {
    /// The detector ran.
    Ok,
    /// The detector cannot process this frame.
    Failed,
}

/// Why a detector failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResultError {
    /// Stable code.
    pub code: FailureCode,
    /// Description of the cause.
    pub message: String,
}

/// A stored detection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DetectionView {
    /// Id: `<frame id>-<detector>-<n>`.
    pub id: String,
    /// Id of the frame.
    pub frame_id: FrameId,
    /// Stream of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// The detector.
    pub detector: DetectorName,
    /// Capture time of the image.
    #[schema(value_type = String, format = DateTime)]
    pub captured_at: Timestamp,
    /// Label, confidence, box, landmarks and attributes.
    #[serde(flatten)]
    pub detection: Detection,
}

/// A detection that a client sends. It passes the same pipeline as those of detectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDetection {
    /// Stream of the detection.
    #[serde(default)]
    pub stream: Option<StreamName>,
    /// Capture time: 1970 or later, at most an hour ahead of the server's clock. Default: now.
    #[serde(default, deserialize_with = "optional_timestamp")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub captured_at: Option<Timestamp>,
    /// Name of the detector. Default: `external`.
    #[serde(default)]
    pub detector: Option<DetectorName>,
    /// Label of the object: 1 to 64 characters, no control characters.
    #[schema(min_length = 1, max_length = 64, pattern = r"\S", example = "car")]
    pub label: String,
    /// Confidence, 0 to 1. Default: 1.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: Option<f64>,
    /// Box of the object in the image; numbers up to a million.
    #[serde(rename = "box", default)]
    pub bounds: Option<BoundingBox>,
    /// Points on the object; numbers up to a million.
    #[serde(default)]
    #[schema(max_items = 512)]
    pub landmarks: Vec<Point>,
    /// Class of a vehicle, such as `SUV`.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub category: Option<String>,
    /// Make of a vehicle, such as `Audi`.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub make: Option<String>,
    /// Model of a vehicle, such as `Q3`.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub model: Option<String>,
    /// Model year of a vehicle.
    #[serde(default)]
    pub year: Option<i32>,
    /// Further attributes by name (`[a-z][a-z0-9_]{0,31}`): texts of at most 256 bytes, finite numbers or booleans. At most 16,
    /// including the fields of a vehicle.
    #[serde(default, deserialize_with = "null_as_empty", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = extra_attributes_schema, required = false)]
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
}

/// Reads an optional time; the error gives an example of the format.
fn optional_timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let invalid = |_| D::Error::custom("must be a time such as 2026-01-02T03:04:05Z");
    Option::<String>::deserialize(deserializer)?.map(|text| text.parse().map_err(invalid)).transpose()
}

impl NewDetection {
    /// The detection, checked.
    ///
    /// # Errors
    /// Names the invalid field and what is allowed.
    pub fn detection(&self) -> Result<Detection, String> {
        let vehicle = Vehicle {
            category: self.category.clone(),
            make: self.make.clone(),
            model: self.model.clone(),
            year: self.year,
        };
        let attributes = Attributes::merge(vehicle, self.attributes.clone()).map_err(|error| error.to_string())?;
        let detection = Detection {
            label: self.label.clone(),
            confidence: self.confidence.unwrap_or(1.0),
            bounds: self.bounds,
            landmarks: self.landmarks.clone(),
            attributes,
        };
        detection.check().map(|()| detection)
    }
}

/// A detection of a client was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DetectionAccepted {
    /// Id of the detection.
    pub id: String,
    /// Id of the frame that was created for the detection.
    pub frame_id: FrameId,
}

/// One group of a count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// Value of the field; for hours, the start of the hour in RFC 3339.
    pub key: String,
    /// Number of detections.
    pub count: u64,
}

/// Counts by group: the largest first; hours in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Groups with their counts.
    pub items: Vec<Count>,
}

/// A new rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRule {
    /// Name, which is part of each alert: 1 to 64 characters, no control characters, unique within the tenant.
    #[schema(min_length = 1, max_length = 64, example = "sure faces")]
    pub name: String,
    /// The condition in CEL, such as `label == "face" && confidence > 0.8`.
    #[schema(min_length = 1, max_length = 2048, example = r#"label == "face" && confidence > 0.8"#)]
    pub condition: String,
    /// Whether the rule raises alerts. Default: true.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// Changes to a rule. Missing fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleChange {
    /// New name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    pub name: Option<String>,
    /// New condition.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 2048)]
    pub condition: Option<String>,
    /// Whether the rule raises alerts.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// A rule, as the API returns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleView {
    /// Id of the rule.
    pub id: RuleId,
    /// Name.
    pub name: String,
    /// The condition in CEL.
    pub condition: String,
    /// Whether the rule raises alerts.
    pub enabled: bool,
    /// Whether the rule is built in. The operator's settings enable and disable such a rule.
    pub built_in: bool,
    /// Upper bound of the work of evaluating the condition on one detection, in steps. Missing if the condition is invalid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<u32>,
    /// Whether the rule is evaluated.
    #[serde(default)]
    pub state: RuleState,
    /// Why the rule is `too_costly` or `invalid`, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a rule is evaluated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// It is evaluated on each detection.
    #[default]
    Active,
    /// Its owner, or for a built-in rule the operator, has disabled it.
    Disabled,
    /// It is not evaluated: its condition, or the enabled rules of the tenant together, cost too much.
    TooCostly,
    /// It is not evaluated: its condition was valid in an earlier version.
    Invalid,
}

/// A stored alert.
pub type AlertView = AlertData;

/// Settings of a stream. They replace the earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamSettings {
    /// The detectors of frames that are sent without `detectors`; null for those of the service.
    #[serde(default)]
    #[schema(min_items = 1, example = json!(["vehicle"]))]
    pub detectors: Option<Vec<String>>,
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
fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let invalid = |_| D::Error::custom("must be a time such as 2026-01-02T03:04:05Z");
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
    /// It has ended for good, like a file at its end.
    Ended,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StreamView {
    /// Name of the stream.
    pub name: StreamName,
    /// The detectors of frames that are sent without `detectors`; null for those of the service.
    pub detectors: Option<Vec<DetectorName>>,
    /// The newest capture time among its accepted frames, some two seconds late; null if there is none.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_frame_at: Option<Timestamp>,
    /// Frames accepted per second over the last minute, some two seconds late. Repeats of a frame and detections of external
    /// programs are included.
    pub frames_per_second: f64,
    /// Frames of the last hour that were accepted and have no result yet: an upper bound, because frames are counted in spans of ten
    /// seconds, and in longer ones further back. 0 means that the newest frame, as of two seconds ago, has a result. Where results are
    /// kept for less than an hour, frames whose results expired are included.
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
