//! Lines for people on standard error.
//!
//! `eprintln!` panics when nobody reads standard error any more, as after `sightline up 2>&1 | head`. A service must outlive the reader
//! of its output, so such a line is dropped instead.

use std::fmt::Display;
use std::io::Write;

/// Prints a line, or drops it when standard error is closed.
pub fn error_line(text: impl Display) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
