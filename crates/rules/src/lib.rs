//! Alert rules: compiles, type-checks and evaluates conditions on detections. No I/O.
//!
//! In: the text of a condition in CEL, such as `label == "face" && confidence > 0.8`, and a [`Subject`]: one detection with its frame.
//! Out: whether the condition matches. `docs/RULES.md` describes the language.
//!
//! Every user can write rules, so these guarantees hold for any text:
//! - [`Condition::compile`] has bounded time, memory and stack.
//! - A compiled condition evaluates to true or false. Unknown names and type errors are refused at compile time, with a message that
//!   lists what is allowed. Only arithmetic can fail in [`Condition::matches`]: a division by zero or an overflow.
//! - The work of an evaluation is bounded before it starts: [`Condition::cost`], at most [`MAX_CONDITION_COST`]. Conditions have no
//!   loops and no regular expressions. The rules of a tenant together cost at most [`MAX_TENANT_COST`]: [`within_budget`] says which
//!   are evaluated.

mod budget;
mod built_in;
mod check;
mod condition;
mod cost;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod subject;
mod watchlists;

pub use budget::{MAX_TENANT_COST, evaluated_detections, within_budget};
pub use built_in::{BuiltInRuleSettings, FACE_SEEN, SUSPICIOUS_VEHICLE, built_in_rules};
pub use condition::{Condition, Error, MAX_CONDITION_COST, MAX_SOURCE_BYTES};
pub use subject::{DetectionSubject, Subject};
pub use watchlists::{NO_WATCHLISTS, Watchlists};
