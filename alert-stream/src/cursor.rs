//! A client's position in the stream, sent as the `id:` of its events. Clients must not interpret it; every replica can parse it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Version of the encoding, its first byte.
const VERSION: u8 = 1;
/// Longest text that is decoded, in bytes.
const MAX_TEXT: usize = 256;

/// The position after the alert at `offset` of the topic with this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCursor {
    /// Id of the alerts topic: a topic that was deleted and created again has another id.
    pub topic_id: Arc<str>,
    /// Offset in the topic; -1 is the position before the first record.
    pub offset: i64,
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event id of this stream; omit it to start with the next alert")]
pub struct InvalidCursor;

impl fmt::Display for AlertCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(9 + self.topic_id.len());
        bytes.push(VERSION);
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend(self.topic_id.as_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for AlertCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() > MAX_TEXT {
            return Err(InvalidCursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let (version, rest) = bytes.split_first().ok_or(InvalidCursor)?;
        let (offset, topic_id) = rest.split_first_chunk::<8>().ok_or(InvalidCursor)?;
        let offset = i64::from_be_bytes(*offset);
        let topic_id = std::str::from_utf8(topic_id).map_err(|_| InvalidCursor)?;
        if *version != VERSION || !(-1..i64::MAX).contains(&offset) || topic_id.is_empty() {
            return Err(InvalidCursor);
        }
        Ok(Self { topic_id: topic_id.into(), offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formatted_cursor_parses_to_the_same_cursor() {
        for offset in [-1, 0, 1, 123_456_789, i64::MAX - 1] {
            let cursor = AlertCursor { topic_id: "0c9d7f2e-topic".into(), offset };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let good = AlertCursor { topic_id: "log".into(), offset: 7 }.to_string();
        let other_version = URL_SAFE_NO_PAD.encode([2, 0, 0, 0, 0, 0, 0, 0, 7, b'l']);
        let negative = URL_SAFE_NO_PAD.encode([1, 255, 255, 255, 255, 255, 255, 255, 254, b'l']);
        let no_topic_id = URL_SAFE_NO_PAD.encode([1, 0, 0, 0, 0, 0, 0, 0, 7]);
        for text in
            ["", "7", "ü", &good[1..], &format!("{good}="), &"A".repeat(5000), &other_version, &negative, &no_topic_id]
        {
            assert_eq!(text.parse::<AlertCursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
