//! Body of the fuzz target `sse`: invariants for any `Last-Event-ID` and any query. `scripts/fuzz` runs it on generated inputs,
//! the test below on the inputs in `fuzz/corpus`. Only these two builds compile it.

use http::{HeaderValue, StatusCode};

use crate::cursor::AlertCursor;
use crate::http::parse_start;

/// Input: a `Last-Event-ID` in the first line, a query in the second. Asserts that a parsed cursor formats to the same text.
pub fn sse(data: &[u8]) {
    let (header, query) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    if let Ok(text) = std::str::from_utf8(header) {
        cursor(text);
    }
    let Ok(header) = HeaderValue::from_bytes(header) else { return };
    let Ok(query) = std::str::from_utf8(query.get(1..).unwrap_or_default()) else { return };
    match parse_start(header.clone(), query) {
        Ok(Some(cursor)) => assert_eq!(cursor.to_string().parse(), Ok(cursor)),
        Ok(None) => assert!(header.is_empty(), "an invalid header was accepted as a cursor"),
        Err(status) => assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY),
    }
}

fn cursor(text: &str) {
    if let Ok(cursor) = text.parse::<AlertCursor>() {
        assert!((-1..i64::MAX).contains(&cursor.offset));
        assert_eq!(cursor.to_string(), text, "a cursor has one spelling");
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn every_input_is_a_canonical_cursor_or_rejected() {
        replay("sse", super::sse);
    }
}
