//! Alerts, which rules raise.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::attributes::Attributes;
use crate::detection::BoundingBox;
use crate::event::{DecodeError, Event, Message, cloud_event, expect_type, json, shortened};
use crate::ids::{AlertId, DetectorName, FrameId, RuleId, StreamName, TenantId};
use crate::topics::TopicRole;

/// An alert: at most one for each rule and frame. It describes the matching detection with the highest confidence.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertEvent {
    /// Owner of the frame.
    pub tenant: TenantId,
    /// W3C trace context of the request that sent the frame.
    pub traceparent: Option<String>,
    /// Payload.
    pub data: AlertData,
}

/// The payload of an alert, and the data of an event in the alert stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertData {
    /// Id, derived from rule and frame: the same if the alert is raised again.
    pub id: AlertId,
    /// Name of the rule.
    pub rule: String,
    /// Id of the rule.
    pub rule_id: RuleId,
    /// Id of the frame.
    pub frame_id: FrameId,
    /// Stream of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Detector that found the object.
    pub detector: DetectorName,
    /// Id of the detection: `<frame id>-<detector>-<n>`.
    pub detection_id: String,
    /// Label of the object, such as `face`.
    pub label: String,
    /// Confidence of the detector, 0 to 1.
    pub confidence: f64,
    /// Box of the object in the image.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<BoundingBox>,
    /// Attributes of the object, by name.
    #[serde(default, flatten)]
    pub attributes: Attributes,
    /// Number of detections of the frame that match the rule.
    pub matches: u32,
    /// Capture time of the image.
    #[schema(value_type = String, format = DateTime)]
    pub captured_at: Timestamp,
    /// Time when the rule was evaluated.
    #[schema(value_type = String, format = DateTime)]
    pub raised_at: Timestamp,
}

impl Event for AlertEvent {
    const ROLE: TopicRole = TopicRole::Alerts;
    const TYPE: &'static str = "sightline.alert.v1";

    fn to_message(&self) -> Message {
        let headers = cloud_event::<Self>(self.data.id, "/sightline/indexer", self.data.raised_at, "application/json")
            .with("ce_subject", self.data.frame_id)
            .with("ce_tenant", &self.tenant)
            .with_some("ce_traceparent", self.traceparent.as_ref());
        Message { key: Some(self.tenant.to_string().into()), headers, value: json(&self.data) }
    }

    fn from_message(message: &Message) -> Result<Self, DecodeError> {
        let headers = &message.headers;
        expect_type::<Self>(headers)?;
        Ok(Self {
            tenant: headers.required("ce_tenant")?,
            traceparent: headers.optional("ce_traceparent")?,
            data: serde_json::from_slice(&message.value).map_err(|error| DecodeError::Payload(shortened(&error)))?,
        })
    }
}
