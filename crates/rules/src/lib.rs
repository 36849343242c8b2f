//! Alert rules: conditions over detections, compiled, checked and evaluated. Pure: no I/O.
//!
//! In: the text of a condition in CEL, such as `label == "face" && confidence > 0.8`, and a [`Subject`]: one detection with its frame.
//! Out: whether it matches. `docs/RULES.md` is the page for those who write rules.
//!
//! Promised, since anybody with an account writes rules:
//! - [`Condition::compile`] takes hostile text in bounded time, memory and stack;
//! - what compiles gives a yes or no: unknown variables and functions, and values of a kind that does not fit, are refused
//!   with what would be right. What is left to fail in [`Condition::matches`] is arithmetic: a division by zero, an overflow;
//! - evaluating costs no more than a walk through the text: there are no loops, and no regular expressions, in conditions.

mod built_in;
mod check;
mod condition;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod subject;

pub use built_in::{BuiltIns, FACE_SEEN, SUSPICIOUS_VEHICLE, built_in};
pub use condition::{Condition, Error, MAX_SOURCE_BYTES};
pub use subject::{DetectionSubject, Subject};
