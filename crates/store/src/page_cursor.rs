//! The text form of a [`PageCursor`], as in the query parameter `cursor` and the field `next_cursor`.
//!
//! The text is base64url (no padding) of `1.<microseconds since 1970>.<id>`; `1` is the version of the format. Clients treat
//! it as opaque. Decoding is safe for any input. A cursor contains no secret and grants no access.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

const VERSION: &str = "1";
/// Maximum length of a text in bytes. An encoded cursor has fewer than 150.
const MAX_TEXT: usize = 256;
/// Maximum length of an id in bytes. The longest is a detection id: `<frame id>-<detector>-<n>`.
const MAX_ID: usize = 96;

/// A position in a list that is ordered by time, then id. All items of a list that is ordered by name have the time 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCursor {
    /// Time of the last item of the previous page.
    pub at: Timestamp,
    /// Id of the last item of the previous page; its name in a list ordered by name.
    pub id: String,
}

/// The text is not an encoded cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cursor must be the next_cursor of the previous page, unchanged; omit it for the newest page")]
pub struct CursorError;

impl PageCursor {
    /// The cursor as text, for `next_cursor`.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{VERSION}.{}.{}", self.at.as_microsecond(), self.id))
    }

    /// Parses a cursor.
    ///
    /// # Errors
    /// When the text is not one that [`PageCursor::encode`] returns.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        if text.len() > MAX_TEXT {
            return Err(CursorError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let plain = String::from_utf8(bytes).map_err(|_| CursorError)?;
        let mut parts = plain.splitn(3, '.');
        let (Some(VERSION), Some(at), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(CursorError);
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(allowed) {
            return Err(CursorError);
        }
        let at = at.parse().ok().and_then(|micros| Timestamp::from_microsecond(micros).ok()).ok_or(CursorError)?;
        let cursor = Self { at, id: id.to_owned() };
        // Only the canonical encoding is accepted, so equal positions have equal texts.
        if cursor.encode() == text { Ok(cursor) } else { Err(CursorError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_round_trips() {
        for at in ["2026-01-02T03:04:05.123456Z", "1969-12-31T23:59:59.999999Z", "9999-12-30T00:00:00Z"] {
            for id in
                ["01890a5d-ac96-774b-bcce-b302099a8057-a_detector_with_a_long_name_0123-4294967295", "..Gate_1.a-b."]
            {
                let cursor = PageCursor { at: at.parse().unwrap(), id: id.to_owned() };
                let text = cursor.encode();
                assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
                assert!(text.len() <= MAX_TEXT, "{}", text.len());
                assert_eq!(PageCursor::decode(&text), Ok(cursor));
            }
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        let plain = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let hostile = [
            String::new(),
            "?".to_owned(),
            "AAAA".to_owned(),
            "ü".repeat(100),
            "A".repeat(1 << 20),
            plain("2.0.abc"),
            plain("1.0"),
            plain("1.0."),
            plain("1..abc"),
            plain("1.nan.abc"),
            plain("1.+5.abc"),
            plain("1.9223372036854775807.abc"),
            plain("1.0.a b"),
            plain("1.0.a'; DROP TABLE detections"),
            plain("1.0.{\"$gt\":\"\"}"),
            plain(&format!("1.0.{}", "x".repeat(97))),
            URL_SAFE_NO_PAD.encode([0xff, 0xfe, 0x31]),
            format!("{}==", plain("1.0.abcd")),
        ];
        for text in hostile {
            assert_eq!(PageCursor::decode(&text), Err(CursorError), "{}", text.chars().take(80).collect::<String>());
        }
    }
}
