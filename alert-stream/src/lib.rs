//! Alerts in; server-sent events out.
//!
//! ```text
//! alerts (one partition) ─▶ consumer: drops duplicates, serialises once ─▶ window: the newest alerts, in memory
//!          │                                                               │ shared by all
//!          └─▶ replay: a reader for each client that resumes further back ─▶ subscription ─▶ client
//! ```
//!
//! In: the alerts topic. Out: each alert as one SSE event to every client whose filter it passes, in the order of the log.
//!
//! Guarantees: every replica sends the same alerts in the same order. The log alone decides which records are duplicates
//! (`dedup.rs`), so a client that moves between replicas, or resumes after days, gets each alert once and misses none. Where
//! the log no longer has the alerts after its cursor, the client first gets `event: reset`. A client that does not keep up gets
//! `event: slow`, if it still reads, and is disconnected. It costs the other clients nothing: a client is an offset into one
//! shared window.

mod alert_trace;
mod config;
mod consumer;
mod cursor;
mod dedup;
mod entry;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
pub mod program;
mod resume;
mod sse;
mod stream_credentials;
mod subscription;
mod window;

use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use bus::Bus;
use platform::Health;
use platform::http::{Limits, Listener};
use platform::traces::Traces;
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::consumer::AlertTail;
use crate::http::App;

/// Connections beyond those of subscribers: for error responses, cookies and probes.
const OTHER_CONNECTIONS: usize = 256;
/// Largest size of a request's headers, in bytes.
const READ_BUFFER: usize = 16 << 10;
/// Send buffer of a connection in the kernel, in bytes: some hundred alerts instead of the kernel's megabytes.
const SEND_BUFFER: usize = 64 << 10;
/// Time limit for streams to send their last event after a stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Dependencies of the service.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// Authenticates clients.
    pub accounts: Arc<dyn Accounts>,
    /// Starts the spans of the service.
    pub traces: Traces,
}

/// The service is ready when the log and the accounts can be reached. Without Redis it counts requests for itself.
pub fn health(_config: &Config, deps: &Deps) -> Health {
    Health::default()
        .with_shared("bus", &deps.bus, |bus| async move { bus.check().await })
        .with_shared("accounts", &deps.accounts, |accounts| async move { accounts.check().await })
        .with_optional_shared("redis", deps.accounts.shared_limits(), |limits| async move { limits.check().await })
}

/// Streams alerts to the clients of `listener`, until `stop`.
///
/// # Errors
/// When a setting is invalid, the log refuses for good, the alerts topic was replaced, or the listener fails.
pub async fn run(
    config: Config,
    deps: Deps,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listener.into().traced(deps.traces.clone());
    let health = health(&config, &deps).until(listener.leaving());
    // A failure of the consumer ends the streams, and a failure of the server ends the consumer.
    let stop = stop.child_token();
    // Accept connections only when the window is filled: a client without a cursor starts at the present end of the topic.
    let Some(tail) = AlertTail::open(&deps.bus, config.alert_window, &stop).await? else { return Ok(()) };
    let limits = Limits {
        connections: config.alert_subscribers + OTHER_CONNECTIONS,
        write: config.alert_stall,
        buffer: READ_BUFFER,
        send_buffer: Some(SEND_BUFFER),
        drain: DRAIN,
        ..Limits::default()
    };
    let app = App::new(&config, &deps, tail.window(), stop.clone());
    let credentials = app.credentials();
    let router = http::router(app).merge(health.router());
    let following = async {
        let result = tail.follow(deps.traces.clone(), &stop).await;
        stop.cancel();
        result
    };
    let serving = async {
        let result = platform::http::serve(listener, router, limits, stop.clone()).await;
        stop.cancel();
        result
    };
    let (followed, served, ()) = tokio::join!(following, serving, credentials.watch(&stop));
    followed.and(served)
}
