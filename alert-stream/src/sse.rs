//! Events of an event stream in the text format of the HTML standard ("Server-sent events").

use std::fmt::Display;

use bytes::Bytes;
use serde_json::json;

use crate::cursor::AlertCursor;

/// How long a client should wait before it reconnects, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// An event with a name, an id and data on one line: `data` must not contain line breaks, and JSON has none.
pub fn event(name: &str, id: &impl Display, data: &impl Display) -> Bytes {
    format!("event: {name}\nid: {id}\ndata: {data}\n\n").into()
}

/// The first event of a stream: an id without data, so that a client without alerts has a cursor too.
pub fn opening(cursor: &AlertCursor) -> Bytes {
    format!("retry: {RETRY_MS}\nid: {cursor}\n\n").into()
}

/// An id and a comment without data: it moves the client's cursor and keeps the connection alive.
pub fn heartbeat(cursor: &AlertCursor) -> Bytes {
    format!(": still here\nid: {cursor}\n\n").into()
}

/// The event `reset`: the stream cannot resume at the client's cursor and continues after `cursor`; alerts may be missing.
pub fn reset(cursor: &AlertCursor, code: &str, reason: &str) -> Bytes {
    event("reset", cursor, &json!({"code": code, "reason": reason}))
}

/// The event `slow`: the server disconnects the client because it did not keep up. It has no id: the client keeps its cursor.
pub fn slow() -> Bytes {
    let data = json!({"code": "slow", "reason": "you did not keep up; reconnect with the last id to get the alerts that you missed"});
    format!("event: slow\ndata: {data}\n\n").into()
}

/// A comment; clients ignore it.
pub fn comment(text: &str) -> Bytes {
    format!(": {text}\n\n").into()
}
