//! Blocks of an event stream, as the HTML standard has them.

use std::fmt::Display;

use bytes::Bytes;
use serde_json::json;

use crate::cursor::Cursor;

/// How long a client should wait before it comes back, in milliseconds.
const RETRY: u32 = 2_000;

/// An event with its data on one line. JSON has no line breaks of its own.
pub fn event(name: &str, id: &impl Display, data: &impl Display) -> Bytes {
    format!("event: {name}\nid: {id}\ndata: {data}\n\n").into()
}

/// The first block: a client without alerts has a place too.
pub fn opening(cursor: &Cursor) -> Bytes {
    format!("retry: {RETRY}\nid: {cursor}\n\n").into()
}

/// A block without an event: it only moves the client's place on, and shows that the line is alive.
pub fn heartbeat(cursor: &Cursor) -> Bytes {
    format!(": still here\nid: {cursor}\n\n").into()
}

/// What came before `cursor` is not to be had: alerts may be missing between what the client saw and what comes now.
pub fn reset(cursor: &Cursor, code: &str, reason: &str) -> Bytes {
    event("reset", cursor, &json!({"code": code, "reason": reason}))
}

/// The client did not keep up and is cut. It keeps its place: this block has no id.
pub fn slow() -> Bytes {
    let data =
        json!({"code": "slow", "reason": "you did not keep up; come back with the last id to get what you missed"});
    format!("event: slow\ndata: {data}\n\n").into()
}

/// A last word without meaning to programs.
pub fn comment(text: &str) -> Bytes {
    format!(": {text}\n\n").into()
}
