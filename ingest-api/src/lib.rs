//! The HTTP edge: frames in, answers out.
//!
//! ```text
//!             ┌─ POST /v1/frames ──▶ header looked at ──▶ charged ──▶ frames ──▶ acknowledged ──▶ 202
//! clients ────┤                                            (over 1 MiB: blob store)      └ Prefer: wait ◀── replies
//!             ├─ GET /v1/… ◀── documents, blobs
//!             └─ GET /v1/alerts ◀── alert-stream
//! ```
//!
//! In: images, detections made elsewhere, rules, questions. Out: frame and result events on the log; pages, counts and
//! images. Promised: 202 means that the log has the frame for good; bad input gets a 4xx problem as soon as its first bytes
//! show it; memory is bounded whatever clients do, and beyond it they get 503 with `Retry-After`. Images are never decoded
//! here: a decoder fed by strangers belongs into a process that may die.

mod app;
mod backlog;
mod config;
mod directory;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
mod openid;
mod probe;
mod publish;
mod recent_keys;
mod upload;
mod view;
mod waiting;

use std::sync::Arc;

use accounts::Accounts;
use bus::Bus;
use contracts::TopicRole;
use platform::http::{Limits, Listener, serve};
use platform::{Common, Health};
use store::{Blobs, Documents};
use tokio_util::sync::CancellationToken;

pub use config::{Config, WorkerGroup};
pub use directory::{Directory, Shared, mailer, settings};

/// What the service works with.
#[derive(Clone)]
pub struct Deps {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// What was seen, and the rules.
    pub documents: Arc<dyn Documents>,
    /// Images.
    pub blobs: Arc<dyn Blobs>,
    /// Who may do what.
    pub accounts: Arc<dyn Accounts>,
    /// The users, for the routes that are about them. What goes on beside requests is for whoever made it to run.
    pub directory: Directory,
    /// Health checks of the other services in this process; `/readyz` includes them.
    pub other_services: Health,
}

/// What must be reachable for the service to be of use.
pub fn health(_: &Config, deps: &Deps) -> Health {
    let Deps { bus, documents, blobs, accounts, other_services, .. } = deps.clone();
    Health::default()
        .with("bus", move || {
            let bus = bus.clone();
            async move { bus.check().await }
        })
        .with("documents", move || {
            let documents = documents.clone();
            async move { documents.check().await }
        })
        .with("blobs", move || {
            let blobs = blobs.clone();
            async move { blobs.check().await }
        })
        .with("accounts", move || {
            let accounts = accounts.clone();
            async move { accounts.check().await }
        })
        .and(other_services)
}

/// Serves `listener` until `stop`.
///
/// # Errors
/// When a setting makes no sense, the listener fails, or the log refuses for good.
pub async fn run(
    config: Config,
    common: Common,
    deps: Deps,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    config.check(&common)?;
    let patience = common.topics()?.get(TopicRole::Frames).retention / 2;
    let groups = config.worker_groups(&common);
    let health = health(&config, &deps);
    let app = app::App::new(config, &common, &deps, stop.clone())?;
    let backlog = Box::pin(app.backlog.clone().watch(deps.bus.clone(), groups, patience, stop.clone()));
    let replies = waiting::follow(deps.bus.clone(), app.waiting.clone(), stop.clone());
    let serving = serve(listener, http::router(app, &health), Limits::default(), stop);
    tokio::try_join!(serving, replies, backlog)?;
    Ok(())
}
