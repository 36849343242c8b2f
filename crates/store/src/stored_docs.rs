//! The stored form of results, detections and alerts: BSON in MongoDB, the same fields as JSON in SQLite.
//!
//! Times are microseconds since 1970, truncated: MongoDB's dates have only milliseconds, too few for paging. Lists are ordered
//! by `at`. Only `expires_at` is a date in MongoDB, because a TTL index needs one. The frame id and the detector of a result or
//! detection are stored only in its id.

use std::borrow::Cow;
use std::collections::BTreeMap;

use contracts::alert::AlertData;
use contracts::result::{FailureCode, ResultData};
use contracts::{
    AlertEvent, AttributeName, AttributeValue, Attributes, BoundingBox, Detection, DetectionId, DetectorName, FrameId,
    Outcome, Point, ResultEvent, Vehicle,
};
use jiff::Timestamp;
use mongodb::bson;
use serde::{Deserialize, Serialize};

use crate::query::folded;
use crate::{Indexed, StoreError, StoredAlert, StoredDetection, StoredResult};

/// A stored result, without its detections.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ResultDoc<'a> {
    /// `<frame id>-<detector>`.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) ce_id: String,
    pub(crate) tenant: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<Cow<'a, str>>,
    pub(crate) at: i64,
    #[serde(with = "expiry")]
    pub(crate) expires_at: Timestamp,
    indexed_at: i64,
    processed_at: i64,
    key: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Cow<'a, str>>,
    model: Cow<'a, str>,
    /// Number of detections that are kept as long as the result: all, unless those of strangers expire before it.
    pub(crate) count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<[u32; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<FailureDoc<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FailureDoc<'a> {
    code: FailureCode,
    message: Cow<'a, str>,
}

/// A stored detection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DetectionDoc<'a> {
    /// `<frame id>-<detector>-<n>`.
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) tenant: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<Cow<'a, str>>,
    pub(crate) at: i64,
    #[serde(with = "expiry")]
    pub(crate) expires_at: Timestamp,
    pub(crate) label: Cow<'a, str>,
    pub(crate) confidence: f64,
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    bounds: Option<BoundingBox>,
    #[serde(default, skip_serializing_if = "<[Point]>::is_empty")]
    landmarks: Cow<'a, [Point]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) category: Option<Cow<'a, str>>,
    /// The category in lower case, for comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) category_folded: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) make: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    year: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<ExtraAttributes>,
}

/// Attributes other than the vehicle's four, by name. The field is absent if there are none.
pub(crate) type ExtraAttributes = BTreeMap<AttributeName, AttributeValue>;

/// A stored alert.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AlertDoc<'a> {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) tenant: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<Cow<'a, str>>,
    /// Time raised.
    pub(crate) at: i64,
    #[serde(with = "expiry")]
    pub(crate) expires_at: Timestamp,
    pub(crate) label: Cow<'a, str>,
    pub(crate) rule: Cow<'a, str>,
    rule_id: String,
    frame_id: String,
    detector: Cow<'a, str>,
    pub(crate) detection_id: Cow<'a, str>,
    confidence: f64,
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    bounds: Option<BoundingBox>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    category: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    make: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    year: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<ExtraAttributes>,
    matches: u32,
    captured_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
}

/// `<frame id>-<detector>`, the id of a result. The first result under an id wins.
pub(crate) fn result_id(frame: &FrameId, detector: &DetectorName) -> String {
    format!("{frame}-{detector}")
}

pub(crate) fn detections_of(result: &ResultEvent) -> &[Detection] {
    match &result.data.outcome {
        Outcome::Ok { detections, .. } => detections,
        Outcome::Failed { .. } => &[],
    }
}

/// Refuses values that can be written but not read again, such as NaN.
///
/// # Errors
/// Names the result and the field. Events from the log cannot fail: decoding checks the same.
pub(crate) fn check(batch: &[Indexed]) -> Result<(), StoreError> {
    for Indexed { result, alerts, .. } in batch {
        let invalid = |what: &str, reason: &str| {
            let id = result_id(&result.data.frame_id, &result.data.detector);
            StoreError::Fatal(format!("{what} of result {id} cannot be stored: {reason}"))
        };
        for detection in detections_of(result) {
            detection.check().map_err(|reason| invalid("a detection", &reason))?;
        }
        for AlertEvent { data, .. } in alerts {
            data.attributes.check().map_err(|reason| invalid("an alert", &reason))?;
            if !data.confidence.is_finite() || data.bounds.is_some_and(|bounds| !bounds.is_valid()) {
                return Err(invalid("an alert", "confidence and box must be finite numbers"));
            }
        }
    }
    Ok(())
}

impl<'a> ResultDoc<'a> {
    pub(crate) fn of(indexed: &'a Indexed) -> Self {
        // A result has nothing to say after its last detection.
        let detections = detections_of(&indexed.result).iter();
        let ends: Vec<Timestamp> = detections.map(|detection| indexed.expiry_of(&detection.attributes)).collect();
        let expires_at = ends.iter().max().copied().unwrap_or(indexed.expires_at);
        // The retention is in `expires_at`.
        let ResultEvent { id, tenant, key, traceparent, reply_to, retention: _, data } = &indexed.result;
        let (size, image, failure) = match &data.outcome {
            Outcome::Ok { width, height, image, .. } => (Some([*width, *height]), image.as_ref(), None),
            Outcome::Failed { code, message } => {
                (None, None, Some(FailureDoc { code: *code, message: message.into() }))
            }
        };
        Self {
            id: result_id(&data.frame_id, &data.detector),
            ce_id: id.to_string(),
            tenant: tenant.as_str().into(),
            stream: data.stream.as_ref().map(|stream| stream.as_str().into()),
            at: data.captured_at.as_microsecond(),
            expires_at,
            indexed_at: indexed.indexed_at.as_microsecond(),
            processed_at: data.processed_at.as_microsecond(),
            key: key.into(),
            traceparent: traceparent.as_deref().map(Cow::from),
            reply_to: reply_to.as_deref().map(Cow::from),
            model: data.model.as_str().into(),
            count: u32::try_from(ends.iter().filter(|end| **end == expires_at).count()).unwrap_or(u32::MAX),
            size,
            image: image.map(|key| key.to_string().into()),
            failure,
        }
    }

    /// Whether the outcome is a failure.
    pub(crate) fn is_failure(&self) -> bool {
        self.failure.is_some()
    }

    /// The frame id as text.
    pub(crate) fn frame(&self) -> &str {
        self.id.get(..FRAME_LENGTH).unwrap_or(&self.id)
    }

    /// The result, joined with its detections.
    pub(crate) fn into_stored(self, detections: Vec<Detection>) -> Result<StoredResult, StoreError> {
        let invalid = |what: &dyn std::fmt::Display| unreadable("result", &self.id, what);
        let (frame, detector) =
            self.id.split_at_checked(FRAME_LENGTH).ok_or_else(|| invalid(&"its id is too short"))?;
        let detector = detector.strip_prefix('-').unwrap_or(detector);
        let outcome = match self.failure {
            Some(FailureDoc { code, message }) => Outcome::Failed { code, message: message.into_owned() },
            None => {
                let [width, height] = self.size.unwrap_or_default();
                // An external producer's result may have another text: no image has such a key.
                let image = self.image.and_then(|key| key.parse().ok());
                Outcome::Ok { width, height, detections, image }
            }
        };
        let data = ResultData {
            frame_id: frame.parse().map_err(|error| invalid(&error))?,
            stream: parsed(self.stream.as_deref()).map_err(|error| invalid(&error))?,
            detector: detector.parse().map_err(|error| invalid(&error))?,
            model: self.model.into_owned(),
            captured_at: time(self.at).map_err(|error| invalid(&error))?,
            processed_at: time(self.processed_at).map_err(|error| invalid(&error))?,
            outcome,
        };
        let result = ResultEvent {
            id: self.ce_id.parse().map_err(|error| invalid(&error))?,
            tenant: self.tenant.parse().map_err(|error| invalid(&error))?,
            key: self.key.into_owned(),
            traceparent: self.traceparent.map(Cow::into_owned),
            reply_to: self.reply_to.map(Cow::into_owned),
            retention: None,
            data,
        };
        Ok(StoredResult { result, indexed_at: time(self.indexed_at).map_err(|error| invalid(&error))? })
    }
}

impl<'a> DetectionDoc<'a> {
    /// The detections of one result.
    pub(crate) fn of(indexed: &'a Indexed) -> impl Iterator<Item = Self> + use<'a> {
        let ResultEvent { tenant, data, .. } = &indexed.result;
        let result = result_id(&data.frame_id, &data.detector);
        detections_of(&indexed.result).iter().enumerate().map(move |(index, detection)| Self {
            id: format!("{result}-{index}"),
            tenant: tenant.as_str().into(),
            stream: data.stream.as_ref().map(|stream| stream.as_str().into()),
            at: data.captured_at.as_microsecond(),
            expires_at: indexed.expiry_of(&detection.attributes),
            label: detection.label.as_str().into(),
            confidence: detection.confidence,
            bounds: detection.bounds,
            landmarks: detection.landmarks.as_slice().into(),
            category: detection.attributes.category().map(Cow::from),
            category_folded: detection.attributes.category().map(folded),
            make: detection.attributes.make().map(Cow::from),
            model: detection.attributes.model().map(Cow::from),
            year: detection.attributes.year(),
            attributes: extra_attributes(&detection.attributes),
        })
    }

    pub(crate) fn into_stored(self) -> Result<StoredDetection, StoreError> {
        let invalid = |what: &dyn std::fmt::Display| unreadable("detection", &self.id, what);
        let vehicle = Vehicle {
            category: self.category.map(Cow::into_owned),
            make: self.make.map(Cow::into_owned),
            model: self.model.map(Cow::into_owned),
            year: self.year,
        };
        let attributes =
            Attributes::merge(vehicle, self.attributes.unwrap_or_default()).map_err(|error| invalid(&error))?;
        Ok(StoredDetection {
            id: self.id.parse::<DetectionId>().map_err(|error| invalid(&error))?,
            tenant: self.tenant.parse().map_err(|error| invalid(&error))?,
            stream: parsed(self.stream.as_deref()).map_err(|error| invalid(&error))?,
            captured_at: time(self.at).map_err(|error| invalid(&error))?,
            detection: Detection {
                label: self.label.into_owned(),
                confidence: self.confidence,
                bounds: self.bounds,
                landmarks: self.landmarks.into_owned(),
                attributes,
            },
        })
    }
}

impl<'a> AlertDoc<'a> {
    /// The alerts about one result.
    pub(crate) fn of(indexed: &'a Indexed) -> impl Iterator<Item = Self> + use<'a> {
        indexed.alerts.iter().map(move |AlertEvent { tenant, traceparent, data }| Self {
            id: data.id.to_string(),
            tenant: tenant.as_str().into(),
            stream: data.stream.as_ref().map(|stream| stream.as_str().into()),
            at: data.raised_at.as_microsecond(),
            expires_at: indexed.expiry_of(&data.attributes),
            label: data.label.as_str().into(),
            rule: data.rule.as_str().into(),
            rule_id: data.rule_id.to_string(),
            frame_id: data.frame_id.to_string(),
            detector: data.detector.as_str().into(),
            detection_id: data.detection_id.as_str().into(),
            confidence: data.confidence,
            bounds: data.bounds,
            category: data.attributes.category().map(Cow::from),
            make: data.attributes.make().map(Cow::from),
            model: data.attributes.model().map(Cow::from),
            year: data.attributes.year(),
            attributes: extra_attributes(&data.attributes),
            matches: data.matches,
            captured_at: data.captured_at.as_microsecond(),
            traceparent: traceparent.as_deref().map(Cow::from),
        })
    }

    pub(crate) fn into_stored(self) -> Result<StoredAlert, StoreError> {
        let invalid = |what: &dyn std::fmt::Display| unreadable("alert", &self.id, what);
        let vehicle = Vehicle {
            category: self.category.map(Cow::into_owned),
            make: self.make.map(Cow::into_owned),
            model: self.model.map(Cow::into_owned),
            year: self.year,
        };
        let attributes =
            Attributes::merge(vehicle, self.attributes.unwrap_or_default()).map_err(|error| invalid(&error))?;
        let data = AlertData {
            id: self.id.parse().map_err(|error| invalid(&error))?,
            rule: self.rule.into_owned(),
            rule_id: self.rule_id.parse().map_err(|error| invalid(&error))?,
            frame_id: self.frame_id.parse().map_err(|error| invalid(&error))?,
            stream: parsed(self.stream.as_deref()).map_err(|error| invalid(&error))?,
            detector: self.detector.parse().map_err(|error| invalid(&error))?,
            detection_id: self.detection_id.into_owned(),
            label: self.label.into_owned(),
            confidence: self.confidence,
            bounds: self.bounds,
            attributes,
            matches: self.matches,
            captured_at: time(self.captured_at).map_err(|error| invalid(&error))?,
            raised_at: time(self.at).map_err(|error| invalid(&error))?,
        };
        let tenant = self.tenant.parse().map_err(|error| invalid(&error))?;
        Ok(StoredAlert { alert: AlertEvent { tenant, traceparent: self.traceparent.map(Cow::into_owned), data } })
    }
}

fn extra_attributes(attributes: &Attributes) -> Option<ExtraAttributes> {
    let extra: ExtraAttributes = attributes.others().map(|(name, value)| (name.clone(), value.clone())).collect();
    (!extra.is_empty()).then_some(extra)
}

/// Length of a frame id, a hyphenated UUID, in bytes.
const FRAME_LENGTH: usize = 36;

fn unreadable(kind: &str, id: &str, what: &dyn std::fmt::Display) -> StoreError {
    StoreError::Fatal(format!("the stored {kind} {id} cannot be read: {what}"))
}

fn parsed<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, T::Err> {
    text.map(str::parse).transpose()
}

fn time(microseconds: i64) -> Result<Timestamp, jiff::Error> {
    Timestamp::from_microsecond(microseconds)
}

/// The key of a group of [`crate::GroupBy::Hour`], from the start of the hour in microseconds since 1970.
pub(crate) fn hour_key(microseconds: i64) -> Result<String, StoreError> {
    time(microseconds).map(|hour| hour.to_string()).map_err(|error| unreadable("hour", "", &error))
}

/// Serialises `expires_at`: as a date in BSON, as microseconds in JSON.
mod expiry {
    use super::{Timestamp, bson};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return at.as_microsecond().serialize(serializer);
        }
        bson::DateTime::from_millis(at.as_millisecond()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let read = if deserializer.is_human_readable() {
            Timestamp::from_microsecond(i64::deserialize(deserializer)?)
        } else {
            Timestamp::from_millisecond(bson::DateTime::deserialize(deserializer)?.timestamp_millis())
        };
        read.map_err(D::Error::custom)
    }
}
