//! What must hold for any `Last-Event-ID` and any query: the body of the fuzz target. `scripts/fuzz` runs it on generated inputs,
//! the test below on those in `fuzz/corpus`. It is compiled for these two only.

use http::{HeaderValue, StatusCode};

use crate::cursor::AlertCursor;
use crate::http::parse_start;

/// Input: a `Last-Event-ID` in the first line and a query in the second. A cursor that parses is written as it was read.
pub fn sse(data: &[u8]) {
    let (header, query) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    if let Ok(text) = std::str::from_utf8(header) {
        cursor(text);
    }
    let Ok(header) = HeaderValue::from_bytes(header) else { return };
    let Ok(query) = std::str::from_utf8(query.get(1..).unwrap_or_default()) else { return };
    match parse_start(header.clone(), query) {
        Ok(Some(cursor)) => assert_eq!(cursor.to_string().parse(), Ok(cursor)),
        Ok(None) => assert!(header.is_empty(), "a header that is no cursor was taken as one"),
        Err(status) => assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY),
    }
}

fn cursor(text: &str) {
    if let Ok(cursor) = text.parse::<AlertCursor>() {
        assert!((-1..i64::MAX).contains(&cursor.offset));
        assert_eq!(cursor.to_string(), text, "a cursor has one text");
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn a_cursor_is_taken_as_written_or_refused() {
        replay("sse", super::sse);
    }
}
