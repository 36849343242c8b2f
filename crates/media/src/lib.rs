//! The work on audiobooks, without doing it: what is to be done next, by whom, and at what price.
//!
//! ```text
//! upload ─▶ transcribe ─▶ summarise ─▶ publish ─▶ done
//!             └ windows: due ─▶ queued ─▶ running ─▶ done
//! ```
//!
//! In: requests of admins, tasks that workers have taken, how calls of providers ended. Out: tasks to publish, windows, which provider is called
//! next, how far a book is, and what to do about it.
//!
//! Guarantees:
//! - A book goes on at the first step that is not done, whoever asks and however it stopped. What was there is served until the new is complete.
//! - A worker has what it takes for 30 s at a time. What it does not renew is published again, so a worker or a message may be lost at any time.
//!   A worker that is only late goes on, unless another one has taken it.
//! - A window is transcribed once: its text is stored with its end, by a key of what it was made from.
//! - No provider is called while it cools, and no call is made that does not fit into what may be spent.
//! - Steps, the choice of a provider and the plan of windows are pure functions; the database keeps what follows from them.

mod causes;
mod clock;
mod error;
mod keys;
mod pipelines;
mod price;
mod providers;
mod registry;
mod steps;
pub mod transcript;
pub mod windows;

pub use causes::{Cause, codes, explain};
pub use clock::Clock;
pub use error::MediaError;
pub use keys::{WindowKey, text_key};
pub use pipelines::{CLAIM_PAUSE, IN_FLIGHT, Pipelines, TranscriptPage};
pub use price::Price;
pub use providers::{CallEnd, Candidate, Choice, after, choose, last_failure, ordered};
pub use registry::{Call, CallId, Cap, ProviderRegistry, Reservation};
pub use steps::{LEASE, MAX_CRASHES, RENEWAL, Request};
pub use windows::Window;
