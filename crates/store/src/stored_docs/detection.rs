//! The stored form of a detection.

use std::borrow::Cow;

use contracts::{Attributes, BoundingBox, Detection, DetectionId, Point, ResultEvent, Vehicle};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ExtraAttributes, detections_of, expiry, extra_attributes, parsed, result_id, time, unreadable};
use crate::query::folded;
use crate::{Indexed, StoreError, StoredDetection};

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
