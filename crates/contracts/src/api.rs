//! Bodies of the HTTP API, for the services and for the command that calls them.

mod audio;
mod face_model;
mod faces;
mod shop;
mod streams;
mod subjects;
mod watchlists;

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

pub use audio::{
    PassageView, PipelineBody, ProviderAction, ProviderAvailability, ProviderCallView, ProviderOrderBody, ProviderTask,
    ProviderTrialView, ProviderView,
};
pub use face_model::{EmbeddedFaces, FaceModelChange, FaceModelStatus, MissingFace, SubjectWithoutFace};
pub use faces::{
    EnrolledFace, EnrolledImages, Enrolment, FaceMatch, FaceQuality, FaceSearch, ImageVerdict, LatestPhoto, NoNegative,
    NotSame, PhotoAccepted, Rejection, Verification,
};
pub use shop::{
    BookChangeBody, BookView, CartItemView, CartView, CategoryBody, CategoryView, CheckoutBody, DownloadView,
    KeptOrderView, NewBookBody, OrderLineView, OrderView, PositionBody, PositionView, PurchaseView, RefundBody,
    UploadLinkView,
};
pub use streams::{ReportedState, StreamReport, StreamSettings, StreamState, StreamStateView, StreamView};
pub use subjects::{
    Consent, DeletedSubject, HeldData, NewSubject, RemainingData, SubjectChange, SubjectImage, SubjectMerge,
    SubjectView,
};
pub use watchlists::{NewWatchlist, WatchlistSummary, WatchlistView};

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
    /// Values for programs, such as the new total of `price_changed`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
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
    /// Name of the person whose face it is, for a credential with the scope `faces:read`. `attributes.subject` is the id; after a merge
    /// it is the earlier one, and the name that of the subject that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_name: Option<String>,
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

/// What is said of a text that is no time.
const NO_TIME: &str = "must be a time such as 2026-01-02T03:04:05Z, before the year 9999";

/// Reads an optional time; the error gives an example of the format.
fn optional_timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let invalid = |_| D::Error::custom(NO_TIME);
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
    /// Groups with their counts. At most 1,000: the largest, or the latest hours.
    pub items: Vec<Count>,
    /// Whether there are further groups.
    #[serde(default)]
    pub more: bool,
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
