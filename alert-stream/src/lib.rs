//! Alerts in; server-sent events out.
//!
//! ```text
//! alerts (one partition) ─▶ tail: repeats dropped, serialised once ─▶ window: the newest alerts, in memory
//!          │                                                            │ shared by all
//!          └─▶ replay: a reader of its own, for who comes from further back ─▶ subscription ─▶ client
//! ```
//!
//! In: the log's alerts. Out: each as one SSE event to every client that may see it and asked for it, in the log's order.
//!
//! Promised: the order is that of the log, the same on every replica. Which records are repeats follows from the log alone
//! (`repeats.rs`), so a client that moves between replicas, or comes back after days, sees each alert once and misses none;
//! where the log no longer has what it would have to see, it is told so (`event: reset`) before anything else. A client
//! that does not keep up is told and cut, and costs the others nothing: its place is a number, and what it is sent is
//! shared with everybody.

mod config;
mod cursor;
mod entry;
mod feed;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod repeats;
mod resume;
mod sessions;
mod sse;
mod subscription;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use bus::Bus;
use platform::Health;
use platform::http::{Limits, Listener};
use tokio_util::sync::CancellationToken;

pub use config::Config;

use crate::http::App;
use crate::tail::Tail;

/// Connections beyond the subscribers': for who is refused, asks for a cookie or looks after our health.
const OTHER_CONNECTIONS: usize = 256;
/// Largest head of a request.
const READ_BUFFER: usize = 16 << 10;
/// What the kernel holds for a client that does not keep up: a few hundred alerts, and not the megabytes that it would take.
const SEND_BUFFER: usize = 64 << 10;
/// How long streams may take to say their last word after a stop.
const DRAIN: Duration = Duration::from_secs(5);

/// What the stream works with.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// Who may listen.
    pub accounts: Arc<dyn Accounts>,
}

/// The checks that decide whether the stream is ready.
pub fn health(_config: &Config, deps: &Deps) -> Health {
    let (bus, accounts) = (Arc::clone(&deps.bus), Arc::clone(&deps.accounts));
    Health::default()
        .with("bus", move || {
            let bus = Arc::clone(&bus);
            async move { bus.check().await }
        })
        .with("accounts", move || {
            let accounts = Arc::clone(&accounts);
            async move { accounts.check().await }
        })
}

/// Streams alerts to whoever connects to `listener`, until `stop`.
///
/// # Errors
/// When the settings make no sense, the log refuses for good or was replaced by another, or the listener fails.
pub async fn run(
    config: Config,
    deps: Deps,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let health = health(&config, &deps);
    // Nobody is let in before the window is filled: "from now on" has to mean after all that is there.
    let Some(tail) = Tail::open(&deps.bus, config.alert_window, &stop).await? else { return Ok(()) };
    let limits = Limits {
        connections: config.alert_subscribers + OTHER_CONNECTIONS,
        write: config.alert_stall,
        buffer: READ_BUFFER,
        send_buffer: Some(SEND_BUFFER),
        drain: DRAIN,
        ..Limits::default()
    };
    // When the tail fails the streams end too.
    let stop = stop.child_token();
    let app = App::new(&config, &deps, tail.feed(), stop.clone());
    let sessions = app.sessions();
    let router = http::router(app).merge(health.router());
    let following = async {
        let result = tail.follow(&stop).await;
        stop.cancel();
        result
    };
    let serving = async {
        let result = platform::http::serve(listener, router, limits, stop.clone()).await;
        stop.cancel();
        result
    };
    let (followed, served, ()) = tokio::join!(following, serving, sessions.watch(&stop));
    followed.and(served)
}
