//! The whole service on the embedded log, over HTTP.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod counts;
mod test_service;
