//! FFmpeg's messages go through our log, shortened, at most a few a second, and without credentials.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use platform::one_line;

use crate::redact::redact;

/// Levels of FFmpeg.
const ERROR: c_int = 16;
const WARNING: c_int = 24;

/// Longest message, in bytes.
const LINE: usize = 300;
/// Most messages in `PERIOD`. The rest is counted.
const LINES: usize = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// A list of arguments in C. It is passed on untouched, and on x86-64 and arm64 it is passed as a pointer.
type Arguments = *mut c_void;

unsafe extern "C" {
    fn av_log_set_callback(callback: extern "C" fn(*mut c_void, c_int, *const c_char, Arguments));
    fn av_log_format_line2(
        context: *mut c_void,
        level: c_int,
        format: *const c_char,
        arguments: Arguments,
        line: *mut c_char,
        size: c_int,
        prints_prefix: *mut c_int,
    ) -> c_int;
}

struct State {
    begun: Option<Instant>,
    written: usize,
    dropped: usize,
    last_error: Option<String>,
}

static STATE: Mutex<State> = Mutex::new(State { begun: None, written: 0, dropped: 0, last_error: None });

/// From now on FFmpeg's messages go to our log.
pub fn start_log() {
    // SAFETY: the function may be called from any thread, and lives as long as the program.
    unsafe { av_log_set_callback(receive) };
}

/// The last error that FFmpeg told since the last call, which often says more than its error code.
pub fn last_error() -> Option<String> {
    STATE.lock().ok()?.last_error.take()
}

extern "C" fn receive(context: *mut c_void, level: c_int, format: *const c_char, arguments: Arguments) {
    // The upper bits are a colour.
    let level = level & 0xff;
    if level > WARNING || format.is_null() {
        return;
    }
    let mut line = [0_u8; LINE];
    let mut prints_prefix: c_int = 1;
    // SAFETY: FFmpeg passes a valid format with its arguments, and writes at most `LINE` bytes with a NUL.
    unsafe {
        let size = LINE as c_int;
        av_log_format_line2(context, level, format, arguments, line.as_mut_ptr().cast(), size, &raw mut prints_prefix);
    }
    let length = line.iter().position(|byte| *byte == 0).unwrap_or(LINE);
    write(level, &String::from_utf8_lossy(&line[..length]));
}

fn write(level: c_int, text: &str) {
    let text = redact(one_line(&text.trim()).trim());
    // A panic must not cross FFmpeg, so a poisoned lock is no panic.
    let Ok(mut state) = STATE.lock() else { return };
    if text.is_empty() {
        return;
    }
    if level <= ERROR {
        state.last_error = Some(without_context(&text).to_owned());
    }
    if state.begun.is_none_or(|begun| begun.elapsed() > PERIOD) {
        if state.dropped > 0 {
            tracing::info!(lines = state.dropped, "further messages of FFmpeg were left out");
        }
        (state.begun, state.written, state.dropped) = (Some(Instant::now()), 0, 0);
    }
    if state.written == LINES {
        state.dropped += 1;
        return;
    }
    state.written += 1;
    drop(state);
    // A damaged frame is an error to FFmpeg and none to us: what it means for a source is said elsewhere.
    tracing::debug!("FFmpeg: {text}");
}

/// A message without the part and the address that FFmpeg puts before it: `[mov,mp4 @ 0x55d0] moov atom not found`.
fn without_context(text: &str) -> &str {
    match text.split_once("] ") {
        Some((context, rest)) if context.starts_with('[') && context.contains(" @ ") => without_context(rest),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_part_is_left_out() {
        assert_eq!(without_context("[mov,mp4 @ 0x55d0] moov atom not found"), "moov atom not found");
        assert_eq!(without_context("[a @ 0x1] [b @ 0x2] wrong [c] d"), "wrong [c] d");
        assert_eq!(without_context("plain"), "plain");
    }
}
