//! The HTTP edge: accepts frames, and serves results and alerts.
//!
//! ```text
//!             ┌─ POST /v1/frames ──▶ header probed ──▶ charged ──▶ frames ──▶ acknowledged ──▶ 202
//! clients ────┤                                          (over 1 MiB: blob store)      └ Prefer: wait ◀── replies
//!             ├─ GET /v1/… ◀── documents, blobs
//!             ├─ GET /v1/alerts ◀── alert-stream
//!             └─ /v1/books, /v1/cart, … ◀── shop-api, where it is another process
//! ```
//!
//! In: images, external detections, rules, settings and reports of streams, queries. Out: frame and result events on the bus; pages, counts and images.
//! Guarantees: 202 means that the broker has stored the frame; bad input gets a 4xx problem as soon as its first bytes
//! are invalid; memory is bounded, and beyond the limit clients get 503 with `Retry-After`. This service never decodes
//! images, because malicious input may crash a decoder, and a crash must not stop the API.

mod backlog;
mod config;
mod deps;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
mod probe;
pub mod program;
mod rated_rules;
mod recent_keys;
mod replies;
mod sent_frames;
mod stream_settings;

use contracts::TopicRole;
use platform::Health;
use platform::http::{Limits, Listener, serve};
use settings::SettingErrors;
use tokio_util::sync::CancellationToken;

use backlog::BacklogLimits;
pub use config::{Config, SharedArgs, WorkerGroup, WorkerGroupArgs};
pub use deps::Deps;

/// The readiness checks of the service.
pub fn health(_: &Config, deps: &Deps) -> Health {
    let mut files = Health::default();
    if !deps.files_in_use.is_empty() {
        let in_use = deps.files_in_use.clone();
        files = files.with("data folder", move || std::future::ready(in_use.check()));
    }
    files
        .with_shared("bus", &deps.bus, |bus| async move { bus.check().await })
        .with_shared("documents", &deps.documents, |documents| async move { documents.check().await })
        .with_shared("blobs", &deps.blobs, |blobs| async move { blobs.check().await })
        .with_shared("accounts", &deps.accounts, |accounts| async move { accounts.check().await })
        .with_optional_shared("redis", deps.accounts.shared_limits(), |limits| async move { limits.check().await })
        .and(deps.other_services.clone())
}

/// Serves `listener` until `stop`.
///
/// # Errors
/// When a setting is invalid, the listener fails, or the bus fails permanently.
pub async fn run(
    config: Config,
    shared: SharedArgs,
    deps: Deps,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    SettingErrors::result_of(|errors| config.check(&shared, errors))?;
    let limits = BacklogLimits::of(shared.topics.load()?.get(TopicRole::Frames));
    let groups = config.workers.names(&shared.frames);
    let listener = listener.into().traced(deps.traces.clone());
    let health = health(&config, &deps).until(listener.leaving());
    let app = http::App::new(config, &shared, &deps, stop.clone())?;
    let backlog = Box::pin(app.backlog.clone().watch(deps.bus.clone(), groups, limits, stop.clone()));
    let replies = replies::follow(deps.bus.clone(), app.replies.clone(), stop.clone());
    app.stream_settings.start(&stop).await;
    let serving =
        serve(listener, http::router(app.clone(), &health, deps.other_routes), Limits::default(), stop.clone());
    let streams = async {
        tokio::join!(app.stream_settings.keep_fresh(&stop), app.sent_frames.write_until(&stop));
        Ok(())
    };
    tokio::try_join!(serving, replies, backlog, streams)?;
    app.sent_frames.write_last().await;
    Ok(())
}
