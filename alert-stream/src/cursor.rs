//! A client's position in the stream, sent as the `id:` of its events: opaque to clients, understood by every replica.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Version of the encoding, its first byte.
const VERSION: u8 = 1;
/// Longest text that is decoded, in bytes.
const MAX_TEXT: usize = 256;

/// Everything up to and including `offset` of this incarnation of the topic was offered to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertCursor {
    /// Incarnation of the alerts topic: a topic that was deleted and created again has another.
    pub incarnation: Arc<str>,
    /// Offset in the topic; -1 stands before the first record.
    pub offset: i64,
}

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no id of an event of this stream; leave it out to start with the next alert")]
pub struct InvalidCursor;

impl fmt::Display for AlertCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(9 + self.incarnation.len());
        bytes.push(VERSION);
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend(self.incarnation.as_bytes());
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
        let (offset, incarnation) = rest.split_first_chunk::<8>().ok_or(InvalidCursor)?;
        let offset = i64::from_be_bytes(*offset);
        let incarnation = std::str::from_utf8(incarnation).map_err(|_| InvalidCursor)?;
        if *version != VERSION || !(-1..i64::MAX).contains(&offset) || incarnation.is_empty() {
            return Err(InvalidCursor);
        }
        Ok(Self { incarnation: incarnation.into(), offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_as_it_was_written() {
        for offset in [-1, 0, 1, 123_456_789, i64::MAX - 1] {
            let cursor = AlertCursor { incarnation: "0c9d7f2e-topic".into(), offset };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let good = AlertCursor { incarnation: "log".into(), offset: 7 }.to_string();
        let other_version = URL_SAFE_NO_PAD.encode([2, 0, 0, 0, 0, 0, 0, 0, 7, b'l']);
        let negative = URL_SAFE_NO_PAD.encode([1, 255, 255, 255, 255, 255, 255, 255, 254, b'l']);
        let no_incarnation = URL_SAFE_NO_PAD.encode([1, 0, 0, 0, 0, 0, 0, 0, 7]);
        for text in [
            "",
            "7",
            "ü",
            &good[1..],
            &format!("{good}="),
            &"A".repeat(5000),
            &other_version,
            &negative,
            &no_incarnation,
        ] {
            assert_eq!(text.parse::<AlertCursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
