//! Blocks of an event stream, as the HTML standard defines them.

use std::fmt::Display;

use bytes::Bytes;
use serde_json::json;

use crate::cursor::AlertCursor;

/// How long a client should wait before it reconnects, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// An event with its data on one line: `data` must not contain line breaks, and JSON has none.
pub fn event(name: &str, id: &impl Display, data: &impl Display) -> Bytes {
    format!("event: {name}\nid: {id}\ndata: {data}\n\n").into()
}

/// The first block: it gives a client without alerts a cursor too.
pub fn opening(cursor: &AlertCursor) -> Bytes {
    format!("retry: {RETRY_MS}\nid: {cursor}\n\n").into()
}

/// A block without an event: it moves the client's cursor and keeps the connection alive.
pub fn heartbeat(cursor: &AlertCursor) -> Bytes {
    format!(": still here\nid: {cursor}\n\n").into()
}

/// Tells the client that alerts before `cursor` are gone, so it may have missed some.
pub fn reset(cursor: &AlertCursor, code: &str, reason: &str) -> Bytes {
    event("reset", cursor, &json!({"code": code, "reason": reason}))
}

/// Tells the client that it is disconnected because it did not keep up. The block has no id: the client keeps its cursor.
pub fn slow() -> Bytes {
    let data =
        json!({"code": "slow", "reason": "you did not keep up; come back with the last id to get what you missed"});
    format!("event: slow\ndata: {data}\n\n").into()
}

/// A comment, which clients ignore.
pub fn comment(text: &str) -> Bytes {
    format!(": {text}\n\n").into()
}
