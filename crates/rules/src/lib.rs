//! Alert rules: compiles, type-checks and evaluates conditions on detections. No I/O.
//!
//! In: the text of a condition in CEL, such as `label == "face" && confidence > 0.8`, and a [`Subject`]: one detection with its frame.
//! Out: whether the condition matches. `docs/RULES.md` describes the language.
//!
//! Every user can write rules, so these guarantees hold for any text:
//! - [`Condition::compile`] has bounded time, memory and stack.
//! - A compiled condition evaluates to true or false. Unknown names and type errors are refused at compile time, with a message that
//!   lists what is allowed. Only arithmetic can fail in [`Condition::matches`]: a division by zero or an overflow.
//! - Evaluation is linear in the length of the text. Conditions have no loops and no regular expressions.

mod built_in;
mod check;
mod condition;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod subject;

pub use built_in::{BuiltInRuleSettings, FACE_SEEN, SUSPICIOUS_VEHICLE, built_in_rules};
pub use condition::{Condition, Error, MAX_SOURCE_BYTES};
pub use subject::{DetectionSubject, Subject};
