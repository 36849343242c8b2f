//! The documents as they are kept, the same in both databases: MongoDB holds them as they are, SQLite as JSON.
//!
//! Times are whole microseconds since 1970 (MongoDB's own dates are milliseconds, too coarse to page by), cut off, not
//! rounded; a time thus reads back with its digits beyond the microsecond gone. `at` is what the collection's lists are
//! ordered by. `expires_at` alone is a date, because MongoDB deletes by it.
//! Frame and detector of a result or a detection are in its id and nowhere else.

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

/// A result without its detections.
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
    /// How many detections belong to it.
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

/// A detection.
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
    /// The category as it is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) category_folded: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) make: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    year: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attributes: Option<OtherAttributes>,
}

/// Attributes but the vehicle's four, by name; stored only where there is one.
pub(crate) type OtherAttributes = BTreeMap<AttributeName, AttributeValue>;

/// An alert.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AlertDoc<'a> {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    pub(crate) tenant: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<Cow<'a, str>>,
    /// When it was raised.
    pub(crate) at: i64,
    #[serde(with = "expiry")]
    pub(crate) expires_at: Timestamp,
    pub(crate) label: Cow<'a, str>,
    pub(crate) rule: Cow<'a, str>,
    rule_id: String,
    frame_id: String,
    detector: Cow<'a, str>,
    detection_id: Cow<'a, str>,
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
    attributes: Option<OtherAttributes>,
    matches: u32,
    captured_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
}

/// `<frame id>-<detector>`: what the first result is the first of.
pub(crate) fn result_id(frame: &FrameId, detector: &DetectorName) -> String {
    format!("{frame}-{detector}")
}

pub(crate) fn detections_of(result: &ResultEvent) -> &[Detection] {
    match &result.data.outcome {
        Outcome::Ok { detections, .. } => detections,
        Outcome::Failed { .. } => &[],
    }
}

/// Refuses what could be written but never be read again, such as numbers that are none.
///
/// # Errors
/// Names the result and the field. Such a result does not come off the log: reading an event checks the same.
pub(crate) fn check(batch: &[Indexed]) -> Result<(), StoreError> {
    for Indexed { result, alerts, .. } in batch {
        let refused = |what: &str, reason: &str| {
            let id = result_id(&result.data.frame_id, &result.data.detector);
            StoreError::Fatal(format!("{what} of result {id} cannot be stored: {reason}"))
        };
        for detection in detections_of(result) {
            detection.check().map_err(|reason| refused("a detection", &reason))?;
        }
        for AlertEvent { data, .. } in alerts {
            data.attributes.check().map_err(|reason| refused("an alert", &reason))?;
            if !data.confidence.is_finite() || data.bounds.is_some_and(|bounds| !bounds.is_sound()) {
                return Err(refused("an alert", "confidence and box must be finite numbers"));
            }
        }
    }
    Ok(())
}

impl<'a> ResultDoc<'a> {
    pub(crate) fn of(indexed: &'a Indexed) -> Self {
        let ResultEvent { id, tenant, key, traceparent, reply_to, data } = &indexed.result;
        let (size, image, failure) = match &data.outcome {
            Outcome::Ok { width, height, image, .. } => (Some([*width, *height]), image.as_deref(), None),
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
            expires_at: indexed.expires_at,
            indexed_at: indexed.indexed_at.as_microsecond(),
            processed_at: data.processed_at.as_microsecond(),
            key: key.into(),
            traceparent: traceparent.as_deref().map(Cow::from),
            reply_to: reply_to.as_deref().map(Cow::from),
            model: data.model.as_str().into(),
            count: u32::try_from(detections_of(&indexed.result).len()).unwrap_or(u32::MAX),
            size,
            image: image.map(Cow::from),
            failure,
        }
    }

    /// Whether the detector could not say anything.
    pub(crate) fn is_failure(&self) -> bool {
        self.failure.is_some()
    }

    /// The frame that it is about, as text.
    pub(crate) fn frame(&self) -> &str {
        self.id.get(..FRAME_LENGTH).unwrap_or(&self.id)
    }

    /// The result with its detections.
    pub(crate) fn into_stored(self, detections: Vec<Detection>) -> Result<StoredResult, StoreError> {
        let wrong = |what: &dyn std::fmt::Display| unreadable("result", &self.id, what);
        let (frame, detector) = self.id.split_at_checked(FRAME_LENGTH).ok_or_else(|| wrong(&"its id is too short"))?;
        let detector = detector.strip_prefix('-').unwrap_or(detector);
        let outcome = match self.failure {
            Some(FailureDoc { code, message }) => Outcome::Failed { code, message: message.into_owned() },
            None => {
                let [width, height] = self.size.unwrap_or_default();
                Outcome::Ok { width, height, detections, image: self.image.map(Cow::into_owned) }
            }
        };
        let data = ResultData {
            frame_id: frame.parse().map_err(|error| wrong(&error))?,
            stream: parsed(self.stream.as_deref()).map_err(|error| wrong(&error))?,
            detector: detector.parse().map_err(|error| wrong(&error))?,
            model: self.model.into_owned(),
            captured_at: time(self.at).map_err(|error| wrong(&error))?,
            processed_at: time(self.processed_at).map_err(|error| wrong(&error))?,
            outcome,
        };
        let result = ResultEvent {
            id: self.ce_id.parse().map_err(|error| wrong(&error))?,
            tenant: self.tenant.parse().map_err(|error| wrong(&error))?,
            key: self.key.into_owned(),
            traceparent: self.traceparent.map(Cow::into_owned),
            reply_to: self.reply_to.map(Cow::into_owned),
            data,
        };
        Ok(StoredResult { result, indexed_at: time(self.indexed_at).map_err(|error| wrong(&error))? })
    }
}

impl<'a> DetectionDoc<'a> {
    /// The detections of one result.
    pub(crate) fn of(indexed: &'a Indexed) -> impl Iterator<Item = Self> + use<'a> {
        let ResultEvent { tenant, data, .. } = &indexed.result;
        let result = result_id(&data.frame_id, &data.detector);
        let Indexed { expires_at, .. } = indexed;
        detections_of(&indexed.result).iter().enumerate().map(move |(index, detection)| Self {
            id: format!("{result}-{index}"),
            tenant: tenant.as_str().into(),
            stream: data.stream.as_ref().map(|stream| stream.as_str().into()),
            at: data.captured_at.as_microsecond(),
            expires_at: *expires_at,
            label: detection.label.as_str().into(),
            confidence: detection.confidence,
            bounds: detection.bounds,
            landmarks: detection.landmarks.as_slice().into(),
            category: detection.attributes.category().map(Cow::from),
            category_folded: detection.attributes.category().map(folded),
            make: detection.attributes.make().map(Cow::from),
            model: detection.attributes.model().map(Cow::from),
            year: detection.attributes.year(),
            attributes: others(&detection.attributes),
        })
    }

    pub(crate) fn into_stored(self) -> Result<StoredDetection, StoreError> {
        let wrong = |what: &dyn std::fmt::Display| unreadable("detection", &self.id, what);
        let vehicle = Vehicle {
            category: self.category.map(Cow::into_owned),
            make: self.make.map(Cow::into_owned),
            model: self.model.map(Cow::into_owned),
            year: self.year,
        };
        let attributes =
            Attributes::merge(vehicle, self.attributes.unwrap_or_default()).map_err(|error| wrong(&error))?;
        Ok(StoredDetection {
            id: self.id.parse::<DetectionId>().map_err(|error| wrong(&error))?,
            tenant: self.tenant.parse().map_err(|error| wrong(&error))?,
            stream: parsed(self.stream.as_deref()).map_err(|error| wrong(&error))?,
            captured_at: time(self.at).map_err(|error| wrong(&error))?,
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
        let Indexed { expires_at, .. } = indexed;
        indexed.alerts.iter().map(|AlertEvent { tenant, traceparent, data }| Self {
            id: data.id.to_string(),
            tenant: tenant.as_str().into(),
            stream: data.stream.as_ref().map(|stream| stream.as_str().into()),
            at: data.raised_at.as_microsecond(),
            expires_at: *expires_at,
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
            attributes: others(&data.attributes),
            matches: data.matches,
            captured_at: data.captured_at.as_microsecond(),
            traceparent: traceparent.as_deref().map(Cow::from),
        })
    }

    pub(crate) fn into_stored(self) -> Result<StoredAlert, StoreError> {
        let wrong = |what: &dyn std::fmt::Display| unreadable("alert", &self.id, what);
        let vehicle = Vehicle {
            category: self.category.map(Cow::into_owned),
            make: self.make.map(Cow::into_owned),
            model: self.model.map(Cow::into_owned),
            year: self.year,
        };
        let attributes =
            Attributes::merge(vehicle, self.attributes.unwrap_or_default()).map_err(|error| wrong(&error))?;
        let data = AlertData {
            id: self.id.parse().map_err(|error| wrong(&error))?,
            rule: self.rule.into_owned(),
            rule_id: self.rule_id.parse().map_err(|error| wrong(&error))?,
            frame_id: self.frame_id.parse().map_err(|error| wrong(&error))?,
            stream: parsed(self.stream.as_deref()).map_err(|error| wrong(&error))?,
            detector: self.detector.parse().map_err(|error| wrong(&error))?,
            detection_id: self.detection_id.into_owned(),
            label: self.label.into_owned(),
            confidence: self.confidence,
            bounds: self.bounds,
            attributes,
            matches: self.matches,
            captured_at: time(self.captured_at).map_err(|error| wrong(&error))?,
            raised_at: time(self.at).map_err(|error| wrong(&error))?,
        };
        let tenant = self.tenant.parse().map_err(|error| wrong(&error))?;
        Ok(StoredAlert { alert: AlertEvent { tenant, traceparent: self.traceparent.map(Cow::into_owned), data } })
    }
}

fn others(attributes: &Attributes) -> Option<OtherAttributes> {
    let others: OtherAttributes = attributes.others().map(|(name, value)| (name.clone(), value.clone())).collect();
    (!others.is_empty()).then_some(others)
}

/// Length of a frame id in a result's id.
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

/// The beginning of an hour, given in microseconds since 1970, as groups of [`crate::GroupBy::Hour`] are called.
pub(crate) fn hour_key(microseconds: i64) -> Result<String, StoreError> {
    time(microseconds).map(|hour| hour.to_string()).map_err(|error| unreadable("hour", "", &error))
}

/// A date for MongoDB, microseconds in JSON.
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
