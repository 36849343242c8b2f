//! Dead letters: messages that can never be processed, stored unchanged with cause and origin, so that they can be sent again.

use bytes::Bytes;
use jiff::Timestamp;

use crate::event::{DecodeError, Headers, Message, expect_type_name};
use crate::ids::FrameId;

/// CloudEvents type of a dead letter.
pub const TYPE: &str = "sightline.dead-letter.v1";
/// Prefix of the original's headers. A redrive restores them exactly.
const ORIGINAL: &str = "original_";

/// A message that can never be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why it cannot be processed.
    pub cause: Cause,
    /// Its position on the log.
    pub origin: Origin,
    /// When it was dead-lettered.
    pub at: Timestamp,
    /// The message itself.
    pub original: Message,
}

/// Why a message can never be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Stable code, such as `undecodable`.
    pub code: String,
    /// Description of the cause.
    pub message: String,
}

/// The position of a message on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Name of the topic on the log.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl DeadLetter {
    /// The dead letter as a message. Its id is derived from its origin, so two dead letters of one message have the same id.
    pub fn to_message(&self) -> Message {
        let id = FrameId::from_position(&self.origin.topic, self.origin.partition, self.origin.offset);
        let content_type = self.original.headers.text("content-type").unwrap_or("application/octet-stream").to_owned();
        let mut headers = Headers::new()
            .with("ce_specversion", "1.0")
            .with("ce_id", id)
            .with("ce_type", TYPE)
            .with("ce_source", "/sightline/dead-letters")
            .with("ce_time", self.at)
            .with("content-type", content_type)
            .with("ce_cause", &self.cause.code)
            .with("ce_causemessage", &self.cause.message)
            .with("ce_origintopic", &self.origin.topic)
            .with("ce_originpartition", self.origin.partition)
            .with("ce_originoffset", self.origin.offset);
        for (name, value) in self.original.headers.iter() {
            headers.push(format!("{ORIGINAL}{name}"), value.clone());
        }
        Message { key: self.original.key.clone(), headers, value: self.original.value.clone() }
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// When the message is not a dead letter.
    pub fn from_message(message: &Message) -> Result<Self, DecodeError> {
        let headers = &message.headers;
        expect_type_name(headers, TYPE)?;
        let original = headers.iter().filter_map(|(name, value): (&str, &Bytes)| {
            name.strip_prefix(ORIGINAL).map(|name| (name.to_owned(), value.clone()))
        });
        Ok(Self {
            cause: Cause { code: headers.required("ce_cause")?, message: headers.required("ce_causemessage")? },
            origin: Origin {
                topic: headers.required("ce_origintopic")?,
                partition: headers.required("ce_originpartition")?,
                offset: headers.required("ce_originoffset")?,
            },
            at: headers.required("ce_time")?,
            original: Message { key: message.key.clone(), headers: original.collect(), value: message.value.clone() },
        })
    }
}
