//! The whole worker on embedded parts: frames go in over the log, results and dead letters are read from it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod crash;
mod failures;
mod order;
mod real;
mod recording;
mod rig;
mod serve;
mod vision;
mod worker;
