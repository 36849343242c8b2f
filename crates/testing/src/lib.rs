//! Helpers for the tests of several crates. A development dependency only.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

mod changed_bus;
mod collector;
pub mod openid_provider;
mod relay;

pub use changed_bus::{BusChange, ChangedBus};
pub use collector::{CollectedSpan, Collector};
pub use relay::Relay;

use std::time::Duration;

use serde_json::Value;

/// Path, method and description of every operation of an OpenAPI document.
pub fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Polls until `holds` returns `true`. Panics with `what` after 20 seconds.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}
