//! The whole worker on the embedded bus: tests publish frames and read results and dead letters.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod crash;
mod failures;
mod harness;
mod identity;
mod order;
mod real;
mod recording;
mod serve;
mod worker;
