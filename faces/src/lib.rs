//! Faces as identities: people are enrolled with images of their face; further images are verified against one of them, or searched
//! among all.
//!
//! ```text
//! image ──▶ Encoder: decode ▶ find the face ▶ embedding ──┬─ enrol ──▶ Relational: subjects, vectors
//!           (opened by the first request)                 ├─ verify ──▶ vectors of one subject ──▶ decide
//!                                                         └─ search ──▶ Galleries: all of the tenant ──▶ matches
//! ```
//!
//! In: images over HTTP, with the caller's tenant. Out: subjects, verdicts, matches.
//!
//! Guarantees: an embedding never leaves the process except into the database. A caller sees and compares only its tenant's subjects.
//! A search sees every change that was committed before it began, on any instance. A caller states how often strangers may be taken
//! for one person, not a similarity; what the model cannot promise is refused. Bodies, pixels and galleries in memory are bounded.
//! Without a model for embeddings everything but comparing works, and says what is missing.

mod config;
mod encoder;
mod http;
pub mod program;

use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use api_kit::describe::Routes;
use gallery::Galleries;
use platform::Health;
use platform::http::{Limits, Listener, serve};
use platform::traces::Traces;
use store::Relational;
use tokio_util::sync::CancellationToken;

pub use config::{Config, SharedArgs};

/// How often galleries are looked for that were not used for a while.
const SWEEP: Duration = Duration::from_secs(60);

/// Dependencies of the service.
#[derive(Clone)]
pub struct Deps {
    /// Authenticates callers.
    pub accounts: Arc<dyn Accounts>,
    /// Subjects and vectors.
    pub database: Relational,
    /// Starts the spans of the service.
    pub traces: Traces,
}

/// The service is ready when the accounts and the subjects can be read. Without Redis it counts requests for itself.
pub fn health(deps: &Deps) -> Health {
    Health::default()
        .with_shared("accounts", &deps.accounts, |accounts| async move { accounts.check().await })
        .with_optional_shared("redis", deps.accounts.shared_limits(), |limits| async move { limits.check().await })
}

/// Serves `listener` until `stop`. A process with several services has [`Faces::routes`] on the port of another one instead.
///
/// # Errors
/// When the listener fails.
pub async fn run(
    config: Config,
    shared: SharedArgs,
    deps: Deps,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listener.into().traced(deps.traces.clone());
    let health = health(&deps).until(listener.leaving());
    let faces = Faces::new(&config, &shared, &deps);
    let router = http::router(&faces, &health);
    let serving = serve(listener, router, Limits::default(), stop.clone());
    let (served, ()) = tokio::join!(serving, faces.sweep(stop));
    served
}

/// The service: its routes, and the galleries behind them. Clones share them.
#[derive(Clone)]
pub struct Faces {
    app: http::App,
    galleries: Galleries,
}

impl Faces {
    /// Opens no model: the first request with an image does.
    pub fn new(config: &Config, shared: &SharedArgs, deps: &Deps) -> Self {
        let store: Arc<dyn gallery::VectorStore> = Arc::new(deps.database.clone());
        let galleries = Galleries::new(store, config.faces_gallery_bytes);
        Self { app: http::App::new(config, shared, deps, galleries.clone()), galleries }
    }

    /// The routes under `/v1/faces`, with their part of the OpenAPI document.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Routes<S> {
        http::routes().with_state(self.app.clone())
    }

    /// Frees galleries that nobody uses, until `stop`. A deleted face stays in memory no longer than until then.
    pub async fn sweep(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.galleries.sweep(Galleries::IDLE);
        }
    }
}
