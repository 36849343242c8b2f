//! What holds for every reason for a refusal, whatever was refused.

use std::fmt::Display;

/// Longest reason, in bytes: it travels in a failed result, in the header of a dead letter and in a line of the log, and a
/// client reads it.
const LONGEST: usize = 1024;

/// A reason is short and on one line.
pub fn assert_clean(error: &impl Display) {
    let reason = error.to_string();
    assert!(reason.len() <= LONGEST, "{} bytes of reason: {reason:.200}", reason.len());
    assert_eq!(reason.lines().count(), 1, "{reason:?}");
}
