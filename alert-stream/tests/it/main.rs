//! The whole stream on the embedded log, over HTTP, started as production starts it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod client;
mod closing;
mod filtering;
mod kafka;
mod ordering;
mod refusing;
mod resuming;
mod slow;
mod test_stream;
mod verifier;
