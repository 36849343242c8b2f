//! The text form of a [`PageCursor`], as in the query parameter `cursor` and the field `next_cursor`.
//!
//! The text is base64url (no padding) of `2.<list>.<microseconds since 1970>.<id>`; `2` is the version of the format. With the list in
//! it, a cursor of another list is refused: it would be a position at which nobody stopped. Clients treat the text as opaque. Decoding is
//! safe for any input. A cursor contains no secret and grants no access.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

const VERSION: &str = "2";
/// Maximum length of a text in bytes. An encoded cursor has fewer than 180.
const MAX_TEXT: usize = 256;
/// Maximum length of an id in bytes. The longest is a detection id: `<frame id>-<detector>-<n>`.
const MAX_ID: usize = 96;

/// A list that is read in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Frames with their results.
    Frames,
    /// Detections.
    Detections,
    /// Past alerts.
    Alerts,
    /// Streams.
    Streams,
    /// Users.
    Users,
    /// The audit log.
    Audit,
    /// Subjects of enrolled faces.
    Subjects,
    /// Books of the shop.
    Books,
    /// What a user has bought.
    Purchases,
    /// Orders of a user.
    Orders,
    /// Orders of deleted users.
    KeptOrders,
    /// Calls of providers.
    ProviderCalls,
}

impl List {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Frames,
        Self::Detections,
        Self::Alerts,
        Self::Streams,
        Self::Users,
        Self::Audit,
        Self::Subjects,
        Self::Books,
        Self::Purchases,
        Self::Orders,
        Self::KeptOrders,
        Self::ProviderCalls,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Detections => "detections",
            Self::Alerts => "alerts",
            Self::Streams => "streams",
            Self::Users => "users",
            Self::Audit => "audit",
            Self::Subjects => "subjects",
            Self::Books => "books",
            Self::Purchases => "purchases",
            Self::Orders => "orders",
            Self::KeptOrders => "kept_orders",
            Self::ProviderCalls => "provider_calls",
        }
    }
}

/// A position in a list that is ordered by time, then id. All items of a list that is ordered by name have the time 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCursor {
    /// Time of the last item of the previous page.
    pub at: Timestamp,
    /// Id of the last item of the previous page; its name in a list ordered by name.
    pub id: String,
}

/// Why a text is no cursor of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// It is not an encoded cursor.
    #[error("cursor must be the next_cursor of the previous page, unchanged; omit it for the first page")]
    Malformed,
    /// It is that of another list.
    #[error(
        "cursor is the next_cursor of another list ({0}); use that of the previous page of this list, or omit it for the first page"
    )]
    OtherList(&'static str),
}

impl PageCursor {
    /// The cursor of a list as text, for `next_cursor`.
    pub fn encode(&self, list: List) -> String {
        URL_SAFE_NO_PAD.encode(format!("{VERSION}.{}.{}.{}", list.name(), self.at.as_microsecond(), self.id))
    }

    /// Parses a cursor of a list.
    ///
    /// # Errors
    /// When the text is not one that [`PageCursor::encode`] returns for this list.
    pub fn decode(text: &str, list: List) -> Result<Self, CursorError> {
        let (found, cursor) = Self::parse(text).ok_or(CursorError::Malformed)?;
        // Only the canonical encoding is accepted, so equal positions have equal texts.
        if cursor.encode(found) != text {
            return Err(CursorError::Malformed);
        }
        if found == list { Ok(cursor) } else { Err(CursorError::OtherList(found.name())) }
    }

    fn parse(text: &str) -> Option<(List, Self)> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let mut parts = plain.splitn(4, '.');
        let (Some(VERSION), Some(list), Some(at), Some(id)) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let list = List::ALL.into_iter().find(|known| known.name() == list)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(allowed) {
            return None;
        }
        let at = Timestamp::from_microsecond(at.parse().ok()?).ok()?;
        Some((list, Self { at, id: id.to_owned() }))
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
                let text = cursor.encode(List::Audit);
                assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
                assert!(text.len() <= MAX_TEXT, "{}", text.len());
                assert_eq!(PageCursor::decode(&text, List::Audit), Ok(cursor));
            }
        }
    }

    #[test]
    fn a_cursor_is_that_of_its_list_only() {
        let cursor = PageCursor { at: "2026-01-02T03:04:05Z".parse().unwrap(), id: "a".to_owned() };
        for of in List::ALL {
            for list in List::ALL {
                let expected = if of == list { Ok(cursor.clone()) } else { Err(CursorError::OtherList(of.name())) };
                assert_eq!(PageCursor::decode(&cursor.encode(of), list), expected, "{of:?} {list:?}");
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
            plain("1.0.abc"),
            plain("2.0.abc"),
            plain("2.frame.0.abc"),
            plain("2.Frames.0.abc"),
            plain("3.frames.0.abc"),
            plain("2.frames.0"),
            plain("2.frames.0."),
            plain("2.frames..abc"),
            plain("2.frames.nan.abc"),
            plain("2.frames.+5.abc"),
            plain("2.frames.9223372036854775807.abc"),
            plain("2.frames.0.a b"),
            plain("2.frames.0.a'; DROP TABLE detections"),
            plain("2.frames.0.{\"$gt\":\"\"}"),
            plain(&format!("2.frames.0.{}", "x".repeat(97))),
            URL_SAFE_NO_PAD.encode([0xff, 0xfe, 0x31]),
            format!("{}==", plain("2.frames.0.abcd")),
        ];
        for text in hostile {
            let shown: String = text.chars().take(80).collect();
            assert_eq!(PageCursor::decode(&text, List::Frames), Err(CursorError::Malformed), "{shown}");
        }
    }
}
