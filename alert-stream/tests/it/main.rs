//! The whole stream on the embedded log, over HTTP, started as production starts it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod client;
mod closing;
mod kafka;
mod ordering;
mod refusing;
mod resuming;
mod seeing;
mod slow;
mod world;
