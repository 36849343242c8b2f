//! Helpers for the tests of several crates. A development dependency only.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod collector;
mod relay;

pub use collector::{CollectedSpan, Collector};
pub use relay::Relay;

use std::time::Duration;

/// Polls until `holds` returns `true`. Panics with `what` after 20 seconds.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}
