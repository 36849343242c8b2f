//! A service to start from: results in, counts by detector out.
//!
//! ```text
//! results ──▶ consumer: count by detector ──▶ Counts ──▶ GET /v1/counts, GET /v2/counts
//!                  └─ cannot be decoded ──▶ results.dlq
//! ```
//!
//! In: results from the log, as a member of a consumer group. Out: the number of results of each detector, over HTTP, with the
//! document of the routes at `/openapi.json`.
//!
//! Guarantees: every result is counted at least once while the process runs; a result that cannot be decoded becomes a dead
//! letter. Counts are in memory and start at zero with the process. If the effects of a service must survive a crash, its
//! handler stores them before it returns, with an id that makes a repeat harmless.

mod config;
mod counts;
mod http;

use std::sync::Arc;

use accounts::Accounts;
use bus::Bus;
use platform::Health;
use platform::http::{Limits, Listener, serve};
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::counts::Counts;

/// Dependencies of the service, created by `main` or by a test.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// Verifies credentials.
    pub accounts: Arc<dyn Accounts>,
}

/// The service is ready while the log and the accounts can be reached.
pub fn health(_config: &Config, deps: &Deps) -> Health {
    Health::default().with_shared("bus", &deps.bus, |bus| async move { bus.check().await }).with_shared(
        "accounts",
        &deps.accounts,
        |accounts| async move { accounts.check().await },
    )
}

/// Counts results and serves the counts until `stop`.
///
/// # Errors
/// When the log refuses for good, or the listener fails.
pub async fn run(
    config: Config,
    deps: Deps,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listener.into();
    let counts = Counts::default();
    let router = http::router(&deps, &counts, &health(&config, &deps).until(listener.leaving()));
    // A failure of either part ends the other.
    let stop = stop.child_token();
    let consuming = async {
        let result = counts::consume(&config, deps.bus, counts.clone(), stop.clone()).await;
        stop.cancel();
        result
    };
    let serving = async {
        let result = serve(listener, router, Limits::default(), stop.clone()).await;
        stop.cancel();
        result
    };
    let (consumed, served) = tokio::join!(consuming, serving);
    consumed.and(served)
}
