//! Consumers built from this crate, on the embedded log.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod counting;
mod group;
mod run;
mod sender;
mod test_log;
