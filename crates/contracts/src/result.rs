//! Results: the detections of one detector on one frame, or the reason of its failure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::blob_key::{BlobKey, valid_or_none};
use crate::detection::Detection;
use crate::event::{DecodeError, Event, Message, cloud_event, expect_type, json, shortened};
use crate::ids::{DetectorName, FrameId, StreamName, TenantId};
use crate::retention::RetentionDays;
use crate::topics::TopicRole;

/// The result of one detector on one frame. It is published even if nothing was found.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultEvent {
    /// Id of this publication. It changes if a worker processes the frame again, but not if a message is only sent again.
    pub id: Uuid,
    /// Owner of the frame.
    pub tenant: TenantId,
    /// The frame's message key, so that results keep the order of their frames.
    pub key: String,
    /// W3C trace context of the request that sent the frame.
    pub traceparent: Option<String>,
    /// The ingest-api replica where a client waits for the result, if any.
    pub reply_to: Option<String>,
    /// How long it and its detections and alerts are kept, if its stream has a retention of its own.
    pub retention: Option<RetentionDays>,
    /// Payload.
    pub data: ResultData,
}

/// The payload of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResultData {
    /// Id of the frame.
    pub frame_id: FrameId,
    /// Stream of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// The detector.
    pub detector: DetectorName,
    /// The model that ran, by its name in `models.yaml`.
    pub model: String,
    /// Capture time of the image.
    #[schema(value_type = String, format = DateTime)]
    pub captured_at: Timestamp,
    /// Time when the detector finished.
    #[schema(value_type = String, format = DateTime)]
    pub processed_at: Timestamp,
    /// Detections, or the failure.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Outcome of a detector on a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// The detector ran.
    Ok {
        /// Width of the upright image in pixels; 0 if there is no image.
        width: u32,
        /// Height of the upright image in pixels; 0 if there is no image.
        height: u32,
        /// Objects that were found.
        detections: Vec<Detection>,
        /// Blob key of the stored image.
        #[serde(default, deserialize_with = "valid_or_none", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        image: Option<BlobKey>,
    },
    /// The detector cannot process this frame; a retry cannot succeed.
    Failed {
        /// Stable code of the cause.
        code: FailureCode,
        /// Description of the cause.
        message: String,
    },
}

/// Why a detector cannot process a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The bytes are not a complete image of a supported format.
    Undecodable,
    /// The image has more pixels than `SIGHTLINE_MAX_FRAME_PIXELS`, or a side of more than 65,535.
    TooLarge,
    /// The image is not in the blob store.
    Missing,
    /// The detector refused the image.
    Rejected,
    /// The worker's process crashed repeatedly on this frame.
    Crashed,
}

impl FailureCode {
    /// The code in payloads, headers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
            Self::Missing => "missing",
            Self::Rejected => "rejected",
            Self::Crashed => "crashed",
        }
    }
}

impl Event for ResultEvent {
    const ROLE: TopicRole = TopicRole::Results;
    const TYPE: &'static str = "sightline.result.v1";

    fn to_message(&self) -> Message {
        let source = format!("/sightline/detector/{}", self.data.detector);
        let headers = cloud_event::<Self>(self.id, source, self.data.processed_at, "application/json")
            .with("ce_subject", self.data.frame_id)
            .with("ce_tenant", &self.tenant)
            .with_some("ce_replyto", self.reply_to.as_ref())
            .with_some("ce_retentiondays", self.retention)
            .with_some("ce_traceparent", self.traceparent.as_ref());
        Message { key: Some(self.key.clone().into()), headers, value: json(&self.data) }
    }

    fn from_message(message: &Message) -> Result<Self, DecodeError> {
        let headers = &message.headers;
        expect_type::<Self>(headers)?;
        let data: ResultData =
            serde_json::from_slice(&message.value).map_err(|error| DecodeError::Payload(shortened(&error)))?;
        if let Outcome::Ok { detections, .. } = &data.outcome {
            for (index, detection) in detections.iter().enumerate() {
                detection.check().map_err(|reason| DecodeError::Payload(format!("detections[{index}]: {reason}")))?;
            }
        }
        let key = message.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
        Ok(Self {
            id: headers.required("ce_id")?,
            tenant: headers.required("ce_tenant")?,
            key: key.unwrap_or_else(|| data.frame_id.to_string()),
            traceparent: headers.optional("ce_traceparent")?,
            reply_to: headers.optional("ce_replyto")?,
            retention: headers.optional("ce_retentiondays")?,
            data,
        })
    }
}
