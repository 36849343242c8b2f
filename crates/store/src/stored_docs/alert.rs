//! The stored form of an alert.

use std::borrow::Cow;

use contracts::alert::AlertData;
use contracts::{AlertEvent, Attributes, BoundingBox, Vehicle};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ExtraAttributes, expiry, extra_attributes, parsed, time, unreadable};
use crate::{Indexed, StoreError, StoredAlert};

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
