//! Bodies of the HTTP interface, shared by the services that speak it and the command that calls them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::alert::AlertData;
use crate::attributes::{AttributeName, AttributeValue, Attributes, Vehicle, or_none, others_schema};
use crate::detection::{BoundingBox, Detection, Point};
use crate::ids::{DetectorName, FrameId, RuleId, StreamName};
use crate::result::FailureCode;

/// An error, as RFC 9457 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI for the kind of problem: `about:blank`, the code says which it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable code for programs, such as `unsupported_media_type`.
    pub code: String,
    /// What went wrong and what to do.
    pub detail: String,
    /// The id of the request, by which the operator finds it in the log; `X-Request-Id` says it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A page of a list, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What `cursor=` takes for the next page; none on the last.
    pub next_cursor: Option<String>,
}

/// A frame was taken: it will be looked at even if everything stops now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FrameAccepted {
    /// Its id.
    pub frame_id: FrameId,
    /// Its stream, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// When the image was taken, or arrived. Missing where the request has an idempotency key and does not say it itself: the
    /// frame may have come before, and then it is the time of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub captured_at: Option<Timestamp>,
    /// Which detectors will look at it.
    pub detectors: Vec<DetectorName>,
    /// Where its results can be read.
    pub results_url: String,
}

/// A frame with the results there are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FrameView {
    /// Its id.
    pub frame_id: FrameId,
    /// Its stream, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// When the image was taken.
    #[schema(value_type = String, format = DateTime)]
    pub captured_at: Timestamp,
    /// Width of the upright original in pixels, 0 where unknown.
    pub width: u32,
    /// Height of the upright original in pixels, 0 where unknown.
    pub height: u32,
    /// What was seen, by all detectors.
    pub detections: Vec<DetectionView>,
    /// What each detector said.
    pub results: Vec<ResultView>,
    /// Where the image can be fetched, while it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
}

/// What one detector said about a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResultView {
    /// Who looked.
    pub detector: DetectorName,
    /// The model that was run.
    pub model: String,
    /// `ok` or `failed`.
    pub status: ResultStatus,
    /// How many detections it made.
    pub count: u32,
    /// When it was done.
    #[schema(value_type = String, format = DateTime)]
    pub processed_at: Timestamp,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ResultError>,
}

/// Whether a detector ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultStatus {
    /// It ran.
    Ok,
    /// It can never say anything about this frame.
    Failed,
}

/// Why a detector failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ResultError {
    /// Stable code.
    pub code: FailureCode,
    /// The cause in words.
    pub message: String,
}

/// One object that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DetectionView {
    /// `<frame id>-<detector>-<n>`.
    pub id: String,
    /// The frame it was seen in.
    pub frame_id: FrameId,
    /// The frame's stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Who saw it.
    pub detector: DetectorName,
    /// When the image was taken.
    #[schema(value_type = String, format = DateTime)]
    pub captured_at: Timestamp,
    /// The object itself.
    #[serde(flatten)]
    pub detection: Detection,
}

/// A detection made elsewhere, to go through the same pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDetection {
    /// Where it was seen.
    #[serde(default)]
    pub stream: Option<StreamName>,
    /// When it was seen: 1970 or later, and at most an hour ahead of the server's clock; now, where it is missing.
    #[serde(default, deserialize_with = "moment")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub captured_at: Option<Timestamp>,
    /// Who saw it; `external`, where it is missing.
    #[serde(default)]
    pub detector: Option<DetectorName>,
    /// What it is: 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64, pattern = r"\S", example = "car")]
    pub label: String,
    /// How sure its maker is, 0 to 1; 1, where it is missing.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: Option<f64>,
    /// Where it is in the image: no number beyond a million.
    #[serde(rename = "box", default)]
    pub bounds: Option<BoundingBox>,
    /// Points on it: no number beyond a million.
    #[serde(default)]
    #[schema(max_items = 512)]
    pub landmarks: Vec<Point>,
    /// Its class, such as `SUV`.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub category: Option<String>,
    /// Its maker, such as `Audi`.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub make: Option<String>,
    /// Its maker's name for it, such as `Q3`.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub model: Option<String>,
    /// Its model year.
    #[serde(default)]
    pub year: Option<i32>,
    /// What else is known of it, by name (`[a-z][a-z0-9_]{0,31}`): texts of at most 256 bytes, finite numbers, true or false.
    /// At most 16, the vehicle's fields included.
    #[serde(default, deserialize_with = "or_none", skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = others_schema, required = false)]
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
}

/// A moment, or words for the client who sent none.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let wrong = |_| D::Error::custom("must be a time such as 2026-01-02T03:04:05Z");
    Option::<String>::deserialize(deserializer)?.map(|text| text.parse().map_err(wrong)).transpose()
}

impl NewDetection {
    /// The detection in it, checked.
    ///
    /// # Errors
    /// Says which field is wrong and what would be right.
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

/// A detection made elsewhere was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DetectionAccepted {
    /// The id it will be found under.
    pub id: String,
    /// The frame made for it.
    pub frame_id: FrameId,
}

/// One group of a count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Count {
    /// What the group has in common; for hours, their beginning in RFC 3339.
    pub key: String,
    /// How many detections it has.
    pub count: u64,
}

/// Counts by group, the largest first; hours in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// The groups.
    pub items: Vec<Count>,
}

/// A rule to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRule {
    /// Its name, which alerts carry: 1 to 64 characters, none of them control characters, and no other rule's.
    #[schema(min_length = 1, max_length = 64, example = "sure faces")]
    pub name: String,
    /// The condition in CEL, such as `label == "face" && confidence > 0.8`.
    #[schema(min_length = 1, max_length = 2048, example = r#"label == "face" && confidence > 0.8"#)]
    pub condition: String,
    /// Whether it is in force; it is, where this is missing.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// What to change of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleChange {
    /// Another name.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 64)]
    pub name: Option<String>,
    /// Another condition.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 2048)]
    pub condition: Option<String>,
    /// In force or not.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleView {
    /// Its id.
    pub id: RuleId,
    /// Its name.
    pub name: String,
    /// The condition in CEL.
    pub condition: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// Whether it comes with the product; such a rule is switched by the operator's settings.
    pub built_in: bool,
}

/// An alert of the past.
pub type AlertView = AlertData;
