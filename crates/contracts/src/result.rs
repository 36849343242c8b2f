//! What one detector said about one frame: detections, or why there are none.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::blob_key::{BlobKey, valid_or_none};
use crate::detection::Detection;
use crate::event::{DecodeError, Event, Message, brief, cloud_event, expect_type, json};
use crate::ids::{DetectorName, FrameId, StreamName, TenantId};
use crate::topics::TopicRole;

/// One detector's result about one frame. Published also when nothing was found.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultEvent {
    /// One per publication, so that a repeat of the work can be told from a repeat of the message.
    pub id: Uuid,
    /// Who owns the frame.
    pub tenant: TenantId,
    /// The key of the frame it is about: results keep their frames' order.
    pub key: String,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// Which ingest replica has a client waiting for it, if one has.
    pub reply_to: Option<String>,
    /// The payload.
    pub data: ResultData,
}

/// The payload of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ResultData {
    /// The frame it is about.
    pub frame_id: FrameId,
    /// The frame's stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Who looked.
    pub detector: DetectorName,
    /// The model that was run, as `models.yaml` names it.
    pub model: String,
    /// When the image was taken.
    #[schema(value_type = String, format = DateTime)]
    pub captured_at: Timestamp,
    /// When the detector was done.
    #[schema(value_type = String, format = DateTime)]
    pub processed_at: Timestamp,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a detector's look at a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// The detector ran.
    Ok {
        /// Width of the upright original in pixels; 0 where there was no image.
        width: u32,
        /// Height of the upright original in pixels; 0 where there was no image.
        height: u32,
        /// What it saw; empty when nothing.
        detections: Vec<Detection>,
        /// Blob key of the image, while it is kept.
        #[serde(default, deserialize_with = "valid_or_none", skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        image: Option<BlobKey>,
    },
    /// The detector can never say anything about this frame.
    Failed {
        /// Stable code of the cause.
        code: FailureCode,
        /// The cause in words.
        message: String,
    },
}

/// Why a frame can never have detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The bytes are not a whole image of a supported format.
    Undecodable,
    /// The image has more pixels than allowed.
    TooLarge,
    /// The image that the message refers to is gone.
    Missing,
    /// The detector refused it.
    Rejected,
    /// Processing it ended the worker's process, repeatedly.
    Crashed,
}

impl FailureCode {
    /// The code as it is written everywhere.
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
            .with_some("ce_traceparent", self.traceparent.as_ref());
        Message { key: Some(self.key.clone().into()), headers, value: json(&self.data) }
    }

    fn from_message(message: &Message) -> Result<Self, DecodeError> {
        let headers = &message.headers;
        expect_type::<Self>(headers)?;
        let data: ResultData =
            serde_json::from_slice(&message.value).map_err(|error| DecodeError::Payload(brief(&error)))?;
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
            data,
        })
    }
}
