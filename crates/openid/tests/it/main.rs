//! ID tokens of a test provider, which an app hands in.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails, in its helpers too")]

mod forgeries;
mod id_tokens;
