//! What a rule raised about a frame.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::attributes::Attributes;
use crate::detection::BoundingBox;
use crate::event::{DecodeError, Event, Message, brief, cloud_event, expect_type, json};
use crate::ids::{AlertId, DetectorName, FrameId, RuleId, StreamName, TenantId};
use crate::topics::TopicRole;

/// One alert: at most one per rule and frame. It tells of the most certain of the detections that matched.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertEvent {
    /// Who owns the frame.
    pub tenant: TenantId,
    /// W3C trace context of the request that brought the frame.
    pub traceparent: Option<String>,
    /// The payload.
    pub data: AlertData,
}

/// The payload of an alert, and what clients of the stream read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertData {
    /// Its id, the same however often it is raised.
    pub id: AlertId,
    /// The rule's name.
    pub rule: String,
    /// The rule's id.
    pub rule_id: RuleId,
    /// The frame it is about.
    pub frame_id: FrameId,
    /// The frame's stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Who saw it.
    pub detector: DetectorName,
    /// `<frame id>-<detector>-<n>` of the detection it tells of.
    pub detection_id: String,
    /// What was seen.
    pub label: String,
    /// How sure the detector was, 0 to 1.
    pub confidence: f64,
    /// Where it is in the image.
    #[serde(rename = "box", default, skip_serializing_if = "Option::is_none")]
    pub bounds: Option<BoundingBox>,
    /// What else is known of it, by name.
    #[serde(default, flatten)]
    pub attributes: Attributes,
    /// How many detections of the frame matched the rule.
    pub matches: u32,
    /// When the image was taken.
    #[schema(value_type = String, format = DateTime)]
    pub captured_at: Timestamp,
    /// When the rule was found to match.
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
            data: serde_json::from_slice(&message.value).map_err(|error| DecodeError::Payload(brief(&error)))?,
        })
    }
}
