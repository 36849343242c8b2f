//! FFmpeg's messages go through our log, shortened, at most a few a second, and without credentials.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use platform::one_line;

use crate::redact::redact;

/// Levels of FFmpeg.
const ERROR: c_int = 16;
const WARNING: c_int = 24;

/// Longest message that is kept, in characters.
const LINE: usize = 300;
/// Longest message that FFmpeg writes. It is cut to `LINE` after credentials were removed, because half a password is no longer
/// recognised.
const WHOLE: usize = 64 << 10;
/// Most messages in `PERIOD`. The rest is counted.
const LINES: usize = 10;
const PERIOD: Duration = Duration::from_secs(10);
/// What is told about a certificate that is not accepted: by FFmpeg, and the last one by `rustls`.
const UNTRUSTED: [&str; 4] = [
    "certificate failed verification",
    "Unable to verify peer certificate",
    "certificate's owner does not match",
    "invalid peer certificate",
];

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
    certificate_error: Option<String>,
}

static STATE: Mutex<State> =
    Mutex::new(State { begun: None, written: 0, dropped: 0, last_error: None, certificate_error: None });

/// From now on FFmpeg's messages go to our log.
pub fn start_log() {
    // SAFETY: the function may be called from any thread, and lives as long as the program.
    unsafe { av_log_set_callback(receive) };
}

/// The last error that FFmpeg told since the last call, which often says more than its error code.
pub fn last_error() -> Option<String> {
    let mut state = STATE.lock().ok()?;
    state.certificate_error = None;
    state.last_error.take()
}

/// What FFmpeg told about a certificate that it did not accept, since the last call of either. Later errors only follow from it.
pub fn certificate_error() -> Option<String> {
    STATE.lock().ok()?.certificate_error.take()
}

/// Whether a message of FFmpeg, or of the library that checks certificates here, is about a certificate that is not accepted.
pub fn is_about_certificate(told: &str) -> bool {
    UNTRUSTED.iter().any(|text| told.contains(text))
}

extern "C" fn receive(context: *mut c_void, level: c_int, format: *const c_char, arguments: Arguments) {
    // The upper bits are a colour.
    let level = level & 0xff;
    // A list of many variants makes as many warnings, which only a log would show.
    let is_kept = level <= ERROR || level <= WARNING && tracing::enabled!(tracing::Level::DEBUG);
    if !is_kept || format.is_null() {
        return;
    }
    let mut line = vec![0_u8; WHOLE];
    let mut prints_prefix: c_int = 1;
    // SAFETY: FFmpeg passes a valid format with its arguments, and writes at most `WHOLE` bytes with a NUL.
    unsafe {
        let size = WHOLE as c_int;
        av_log_format_line2(context, level, format, arguments, line.as_mut_ptr().cast(), size, &raw mut prints_prefix);
    }
    let length = line.iter().position(|byte| *byte == 0).unwrap_or(WHOLE);
    write(level, &shown(&String::from_utf8_lossy(&line[..length])));
}

/// A message without credentials, on one line, and shortened: in this order.
fn shown(text: &str) -> String {
    one_line(&redact(text.trim())).trim().chars().take(LINE).collect()
}

fn write(level: c_int, text: &str) {
    // A panic must not cross FFmpeg, so a poisoned lock is no panic.
    let Ok(mut state) = STATE.lock() else { return };
    if text.is_empty() {
        return;
    }
    // Of a sound track, which nobody decodes.
    if level <= ERROR && !text.contains("not on whitelist") {
        let told = without_context(text);
        state.last_error = Some(told.to_owned());
        if is_about_certificate(told) {
            state.certificate_error = Some(told.to_owned());
        }
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
    fn a_password_across_the_cut_is_not_shown() {
        crate::redact::add_secret("ostrich\u{7}lamp");
        let message = format!("{}ostrich\u{7}lamp and more", "x".repeat(LINE - 9));
        let text = shown(&message);
        assert!(!text.contains("ostr") && text.ends_with("x*** and m"), "{text}");
        // FFmpeg formats the whole message before it is cut.
        let format = std::ffi::CString::new(format!("{} http://ann:lamp@gate/", "x".repeat(LINE - 12))).unwrap();
        // A list without arguments: the format asks for none.
        let mut arguments = [0_u64; 4];
        receive(std::ptr::null_mut(), ERROR, format.as_ptr(), arguments.as_mut_ptr().cast());
        let told = last_error().unwrap();
        assert!(told.ends_with(" http://***@"), "{told}");
    }

    #[test]
    fn the_address_of_a_part_is_left_out() {
        assert_eq!(without_context("[mov,mp4 @ 0x55d0] moov atom not found"), "moov atom not found");
        assert_eq!(without_context("[a @ 0x1] [b @ 0x2] wrong [c] d"), "wrong [c] d");
        assert_eq!(without_context("plain"), "plain");
    }
}
