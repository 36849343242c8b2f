//! The stored form of results, detections and alerts: BSON in MongoDB, the same fields as JSON in SQLite.
//!
//! Times are microseconds since 1970, truncated: MongoDB's dates have only milliseconds, too few for paging. Lists are ordered
//! by `at`. Only `expires_at` is a date in MongoDB, because a TTL index needs one. The frame id and the detector of a result or
//! detection are stored only in its id.

mod alert;
mod detection;
mod result;

use std::collections::BTreeMap;

use contracts::{
    AlertEvent, AttributeName, AttributeValue, Attributes, Detection, DetectorName, FrameId, Outcome, ResultEvent,
};
use jiff::Timestamp;
use mongodb::bson;

use crate::{Indexed, StoreError};

pub(crate) use alert::AlertDoc;
pub(crate) use detection::DetectionDoc;
pub(crate) use result::ResultDoc;

/// Attributes other than the vehicle's four, by name. The field is absent if there are none.
pub(crate) type ExtraAttributes = BTreeMap<AttributeName, AttributeValue>;

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

fn extra_attributes(attributes: &Attributes) -> Option<ExtraAttributes> {
    let extra: ExtraAttributes = attributes.others().map(|(name, value)| (name.clone(), value.clone())).collect();
    (!extra.is_empty()).then_some(extra)
}

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
