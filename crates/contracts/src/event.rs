//! Messages on the log, and the trait of events.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;

use crate::topics::TopicRole;

/// A message: key, headers and payload. The log adds partition, offset and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Messages with the same key keep their order. External producers may send none.
    pub key: Option<Bytes>,
    /// CloudEvents attributes and other headers, in the order of writing.
    pub headers: Headers,
    /// The payload, such as the bytes of an image or JSON.
    pub value: Bytes,
}

impl Message {
    /// Bytes of key, headers and payload, which count against the limits of queues.
    pub fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.as_ref().map_or(0, Bytes::len) + headers + self.value.len()
    }
}

/// Headers of a message: names and bytes. If a name occurs more than once, the last value counts, as in Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Bytes)>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header with raw bytes.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// Adds a header with the text form of `value`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.push(name, value.to_string());
        self
    }

    /// Adds a header if there is a value.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The last value of a header.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The value of a header as text; `None` if it is missing or not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The value of a header, parsed as a `T`.
    ///
    /// # Errors
    /// If the header is missing, not UTF-8 or not a `T`.
    pub fn required<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T, DecodeError> {
        self.optional(name)?.ok_or(DecodeError::Missing { header: name })
    }

    /// The value of a header, parsed as a `T`; `None` if the header is missing.
    ///
    /// # Errors
    /// If the header is not UTF-8 or not a `T`.
    pub fn optional<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Option<T>, DecodeError> {
        let Some(bytes) = self.get(name) else { return Ok(None) };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| DecodeError::Header { header: name, reason: "is not UTF-8".to_owned() })?;
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(reason) => Err(DecodeError::Header { header: name, reason: shortened(&reason) }),
        }
    }

    /// All headers, in the order of writing.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

impl FromIterator<(String, Bytes)> for Headers {
    fn from_iter<I: IntoIterator<Item = (String, Bytes)>>(headers: I) -> Self {
        Self(headers.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

/// Why a message cannot be decoded as an event. A retry cannot succeed: such a message is dead-lettered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A required header is missing.
    #[error("header {header} is missing")]
    Missing {
        /// Name of the header.
        header: &'static str,
    },
    /// The value of a header is invalid.
    #[error("header {header}: {reason}")]
    Header {
        /// Name of the header.
        header: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The message is an event of another type.
    #[error("event type is {found:?}, expected {expected:?}")]
    Type {
        /// Value of `ce_type`.
        found: String,
        /// The expected value.
        expected: &'static str,
    },
    /// The payload is invalid.
    #[error("payload: {0}")]
    Payload(String),
}

/// An event on the log. It names the role of its topic, and `topics.yaml` maps the role to a topic name, so code never passes topic
/// names.
pub trait Event: Sized {
    /// Role of the topic.
    const ROLE: TopicRole;
    /// CloudEvents type with version, such as `sightline.frame.v1`.
    const TYPE: &'static str;

    /// The event as a message.
    fn to_message(&self) -> Message;

    /// Decodes a message.
    ///
    /// # Errors
    /// If the message is not such an event.
    fn from_message(message: &Message) -> Result<Self, DecodeError>;
}

/// The headers that every event has.
pub(crate) fn cloud_event<E: Event>(
    id: impl Display,
    source: impl Into<Bytes>,
    time: Timestamp,
    content_type: &str,
) -> Headers {
    let mut headers = Headers(Vec::with_capacity(HEADER_CAPACITY));
    headers.push("ce_specversion", "1.0");
    headers.push("ce_id", id.to_string());
    headers.push("ce_type", E::TYPE);
    headers.push("ce_source", source);
    headers.with("ce_time", time).with("content-type", content_type)
}

/// Capacity for the headers of any event.
const HEADER_CAPACITY: usize = 12;

/// Checks that the CloudEvents type is that of `E`.
pub(crate) fn expect_type<E: Event>(headers: &Headers) -> Result<(), DecodeError> {
    expect_type_name(headers, E::TYPE)
}

/// Checks that the CloudEvents type is `expected`.
pub(crate) fn expect_type_name(headers: &Headers, expected: &'static str) -> Result<(), DecodeError> {
    let found: String = headers.required("ce_type")?;
    if found == expected { Ok(()) } else { Err(DecodeError::Type { found: shortened(&found), expected }) }
}

/// Maximum length of a text from [`shortened`], in characters.
const MAX_SHORTENED: usize = 200;

/// Shortens an external text to one line of bounded length, for log lines and headers of dead
/// letters. A dead letter must not be much larger than its original.
pub(crate) fn shortened(text: &impl Display) -> String {
    shortened_to(text, MAX_SHORTENED)
}

/// Shortens an external text to one line of at most so many characters.
pub(crate) fn shortened_to(text: &impl Display, characters_at_most: usize) -> String {
    let text = text.to_string();
    let mut characters = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut shortened: String = characters.by_ref().take(characters_at_most).collect();
    if characters.next().is_some() {
        shortened.push('…');
    }
    shortened
}

/// Serialises a payload. Payload types cannot fail to serialise, because their maps have only text keys.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
