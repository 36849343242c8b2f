//! Frames: images that detectors process. The image is the payload, unchanged; the attributes are headers.

use bytes::Bytes;
use jiff::Timestamp;

use crate::blob_key::BlobKey;
use crate::event::{DecodeError, Event, Headers, Message, cloud_event, expect_type};
use crate::ids::{DetectorName, FrameId, StreamName, TenantId};
use crate::retention::RetentionDays;
use crate::topics::TopicRole;

/// One image with a stream and a capture time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameEvent {
    /// Id of the frame and of the event.
    pub id: FrameId,
    /// Owner of the frame.
    pub tenant: TenantId,
    /// Stream of the frame. Frames without a stream have no order.
    pub stream: Option<StreamName>,
    /// Capture time from the client, or the time of arrival.
    pub captured_at: Timestamp,
    /// Detectors that process the frame; empty for all.
    pub detectors: Vec<DetectorName>,
    /// How long its results and its image are kept, if its stream has a retention of its own.
    pub retention: Option<RetentionDays>,
    /// `image/jpeg`, `image/png` or `image/webp`.
    pub content_type: String,
    /// The image, or its blob key.
    pub content: FrameContent,
    /// The ingest-api replica where a client waits for the results, if any.
    pub reply_to: Option<String>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// The image of a frame: its bytes, or where they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameContent {
    /// In the message itself.
    Inline(Bytes),
    /// In the blob store under this key.
    Blob(BlobKey),
}

impl FrameEvent {
    /// Frames of a stream share a key, so they keep their order. A frame without a stream has its own key.
    fn key(&self) -> Bytes {
        match &self.stream {
            Some(stream) => format!("{}/{stream}", self.tenant).into(),
            None => self.id.to_string().into(),
        }
    }
}

impl Event for FrameEvent {
    const ROLE: TopicRole = TopicRole::Frames;
    const TYPE: &'static str = "sightline.frame.v1";

    fn to_message(&self) -> Message {
        let detectors: Vec<&str> = self.detectors.iter().map(DetectorName::as_str).collect();
        let (value, dataref) = match &self.content {
            FrameContent::Inline(bytes) => (bytes.clone(), None),
            FrameContent::Blob(key) => (Bytes::new(), Some(key)),
        };
        let headers = cloud_event::<Self>(self.id, "/sightline/ingest-api", self.captured_at, &self.content_type)
            .with("ce_tenant", &self.tenant)
            .with_some("ce_stream", self.stream.as_ref())
            .with_some("ce_detectors", (!detectors.is_empty()).then(|| detectors.join(",")))
            .with_some("ce_retentiondays", self.retention)
            .with_some("ce_dataref", dataref)
            .with_some("ce_replyto", self.reply_to.as_ref())
            .with_some("ce_traceparent", self.traceparent.as_ref());
        Message { key: Some(self.key()), headers, value }
    }

    fn from_message(message: &Message) -> Result<Self, DecodeError> {
        let headers = &message.headers;
        expect_type::<Self>(headers)?;
        let content = match headers.optional("ce_dataref")? {
            Some(key) => FrameContent::Blob(key),
            None => FrameContent::Inline(message.value.clone()),
        };
        Ok(Self {
            id: headers.required("ce_id")?,
            tenant: headers.required("ce_tenant")?,
            stream: headers.optional("ce_stream")?,
            captured_at: headers.required("ce_time")?,
            detectors: detectors(headers)?,
            retention: headers.optional("ce_retentiondays")?,
            content_type: headers.required("content-type")?,
            content,
            reply_to: headers.optional("ce_replyto")?,
            traceparent: headers.optional("ce_traceparent")?,
        })
    }
}

fn detectors(headers: &Headers) -> Result<Vec<DetectorName>, DecodeError> {
    let listed: Option<String> = headers.optional("ce_detectors")?;
    let names = listed.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty());
    names
        .map(str::parse::<DetectorName>)
        .collect::<Result<_, _>>()
        .map_err(|error| DecodeError::Header { header: "ce_detectors", reason: error.to_string() })
}
