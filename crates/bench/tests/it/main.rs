//! The bench as a program.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod memory;
