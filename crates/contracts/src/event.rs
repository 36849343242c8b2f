//! A message of the log, and what makes a type an event that travels as one.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;

use crate::topics::TopicRole;

/// What the log carries: a key, headers and bytes. The log gives it a partition, an offset and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Messages of one key keep their order. Foreign producers may send none.
    pub key: Option<Bytes>,
    /// Attributes, in the order they were written.
    pub headers: Headers,
    /// The payload.
    pub value: Bytes,
}

impl Message {
    /// How many bytes this message counts for in a bounded queue.
    pub fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.as_ref().map_or(0, Bytes::len) + headers + self.value.len()
    }
}

/// Headers of a message: names with bytes. A name should occur once; of several, the last one counts, as in Kafka.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Cow<'static, str>, Bytes)>);

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a header.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    /// The same headers and one more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.push(name, value.to_string());
        self
    }

    /// The same headers and, where there is a value, one more.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The bytes under a name.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The text under a name; nothing where it is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The text under a name as a `T`.
    ///
    /// # Errors
    /// When the header is missing, is not UTF-8 or does not read as a `T`.
    pub fn required<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T, DecodeError> {
        self.optional(name)?.ok_or(DecodeError::Missing { header: name })
    }

    /// The text under a name as a `T`, or nothing where the header is missing.
    ///
    /// # Errors
    /// When the header is there and is not UTF-8 or does not read as a `T`.
    pub fn optional<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<Option<T>, DecodeError> {
        let Some(bytes) = self.get(name) else { return Ok(None) };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| DecodeError::Header { header: name, reason: "is not UTF-8".to_owned() })?;
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(reason) => Err(DecodeError::Header { header: name, reason: brief(&reason) }),
        }
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }
}

impl FromIterator<(String, Bytes)> for Headers {
    fn from_iter<I: IntoIterator<Item = (String, Bytes)>>(headers: I) -> Self {
        Self(headers.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

/// Why a message is not the event it was read as. Such a message never will be: it is dead-lettered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A header that must be there is not.
    #[error("header {header} is missing")]
    Missing {
        /// Its name.
        header: &'static str,
    },
    /// A header has a value that does not read.
    #[error("header {header}: {reason}")]
    Header {
        /// Its name.
        header: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The CloudEvents type is another one.
    #[error("event type is {found:?}, expected {expected:?}")]
    Type {
        /// The type in the header.
        found: String,
        /// The type that was expected.
        expected: &'static str,
    },
    /// The payload does not read.
    #[error("payload: {0}")]
    Payload(String),
}

/// Something that travels on the log. It knows its role, and `topics.yaml` knows the role's topic,
/// so nobody passes a topic's name.
pub trait Event: Sized {
    /// Which topic carries it.
    const ROLE: TopicRole;
    /// Its CloudEvents type, version included.
    const TYPE: &'static str;

    /// The event as a message.
    fn to_message(&self) -> Message;

    /// The event out of a message.
    ///
    /// # Errors
    /// When the message is not such an event.
    fn from_message(message: &Message) -> Result<Self, DecodeError>;
}

/// The CloudEvents attributes that every event has.
pub(crate) fn cloud_event<E: Event>(
    id: impl Display,
    source: impl Into<Bytes>,
    time: Timestamp,
    content_type: &str,
) -> Headers {
    let mut headers = Headers(Vec::with_capacity(MOST_ATTRIBUTES));
    headers.push("ce_specversion", "1.0");
    headers.push("ce_id", id.to_string());
    headers.push("ce_type", E::TYPE);
    headers.push("ce_source", source);
    headers.with("ce_time", time).with("content-type", content_type)
}

/// Room for the attributes of any event of ours.
const MOST_ATTRIBUTES: usize = 12;

/// Checks that a message carries an `E`.
pub(crate) fn expect_type<E: Event>(headers: &Headers) -> Result<(), DecodeError> {
    expect_named(headers, E::TYPE)
}

/// Checks that a message carries an event of this type.
pub(crate) fn expect_named(headers: &Headers, expected: &'static str) -> Result<(), DecodeError> {
    let found: String = headers.required("ce_type")?;
    if found == expected { Ok(()) } else { Err(DecodeError::Type { found: brief(&found), expected }) }
}

/// Longest reason that is kept of why something does not read, in characters.
const BRIEF: usize = 200;

/// What others wrote, or what was said about it, on one line of bounded length: it goes into a line of the log and into
/// the header of a dead letter, which may be little larger than what it buries.
pub(crate) fn brief(text: &impl Display) -> String {
    let text = text.to_string();
    let mut characters = text.chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut brief: String = characters.by_ref().take(BRIEF).collect();
    if characters.next().is_some() {
        brief.push('…');
    }
    brief
}

/// Serialises a payload of ours. The types of this crate always serialise: their maps have text keys only.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
