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

use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use axum::Router;
use gallery::Galleries;
use store::Relational;
use tokio_util::sync::CancellationToken;

pub use config::{Config, SharedArgs};

use crate::encoder::Encoder;

/// How often galleries are looked for that were not used for a while.
const SWEEP: Duration = Duration::from_secs(60);

/// Dependencies of the service.
#[derive(Clone)]
pub struct Deps {
    /// Authenticates callers.
    pub accounts: Arc<dyn Accounts>,
    /// Subjects and vectors.
    pub database: Relational,
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
        let encoder = Encoder::new(shared);
        let app = http::App::new(config, shared, deps, encoder, galleries.clone());
        Self { app, galleries }
    }

    /// The routes under `/v1/faces`.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        http::router(self.app.clone())
    }

    /// Frees galleries that nobody uses, until `stop`. A deleted face stays in memory no longer than until then.
    pub async fn sweep(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.galleries.sweep(Galleries::IDLE);
        }
    }
}
