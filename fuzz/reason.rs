//! Checks that an error message about untrusted input is short and on one line.

use std::fmt::Display;

/// Longest reason, in bytes: it is part of a failed result, a dead letter's header and a log line.
const LONGEST: usize = 1024;

/// Checks that a reason is there, short, and without control characters, which could forge a log line or steer a terminal.
pub fn assert_clean(error: &impl Display) {
    let reason = error.to_string();
    assert!((1..=LONGEST).contains(&reason.len()), "{} bytes of reason: {reason:.200}", reason.len());
    assert!(!reason.contains(char::is_control), "{reason:?}");
}
