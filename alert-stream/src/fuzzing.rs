//! What must hold for whatever a client says about where its stream begins: the body of the fuzz target, run by
//! `scripts/fuzz` over inputs it makes up and by the test below over those that are kept in `fuzz/corpus`. Built for these
//! two only.

use http::{HeaderValue, StatusCode};

use crate::cursor::Cursor;
use crate::http::begins;

/// A `Last-Event-ID` in the first line and a query in the second. What is taken as a cursor is written as it was read, and
/// nothing else counts as one.
pub fn sse(data: &[u8]) {
    let (header, query) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    if let Ok(text) = std::str::from_utf8(header) {
        cursor(text);
    }
    let Ok(header) = HeaderValue::from_bytes(header) else { return };
    let Ok(query) = std::str::from_utf8(query.get(1..).unwrap_or_default()) else { return };
    match begins(header.clone(), query) {
        Ok(Some(cursor)) => assert_eq!(cursor.to_string().parse(), Ok(cursor)),
        Ok(None) => assert!(header.is_empty(), "what nobody gave out counts as a place"),
        Err(status) => assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY),
    }
}

fn cursor(text: &str) {
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert!((-1..i64::MAX).contains(&cursor.offset));
        assert_eq!(cursor.to_string(), text, "one place has one text");
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn wherever_a_client_wants_to_begin_it_begins_there_or_is_refused() {
        replay("sse", super::sse);
    }
}
