//! Faces as identities: people are enrolled with images of their face; further images are verified against one of them, or searched
//! among all.
//!
//! ```text
//! image ──▶ Encoder: decode ▶ find the face ▶ embedding ──┬─ enrol ──▶ Relational: subjects, vectors
//!           (opened by the first request)                 ├─ verify ──▶ vectors of one subject ──▶ decide
//!                                                         └─ search ──▶ Galleries: all of the tenant ──▶ matches
//! consent that ends ──▶ Relational: its vectors are erased
//! change of the model ──▶ kept images ──▶ Encoder of the new model ──▶ vectors beside the old ones; then one switch
//! delete ──▶ Relational ──▶ Documents, Blobs, photographs that wait: forgotten; a task repeats it until no result with the id can come
//! deleted user ──▶ Documents, Blobs, Relational: a task erases what still comes for its tenant, until nothing can
//! reject ──▶ Documents: no subject ──▶ Blobs: is the image kept? ──▶ Encoder ──▶ Relational: a negative
//! uploads ──▶ file ──▶ Encoder ──▶ Relational: the user's face, verified, an outcome ──▶ an event
//! ```
//!
//! In: images over HTTP, with the caller's tenant; with a folder of uploads, messages that name a user and a file ([`uploads`]). Out:
//! subjects, verdicts, matches; outcomes of uploads.
//!
//! Guarantees: an embedding never leaves the process except into the database. A caller sees and compares only its tenant's subjects.
//! A search sees every change that was committed before it began, on any instance. The faces of
//! a person whose consent ended are not compared. A caller states how often strangers may be taken
//! for one person, not a similarity; what the model cannot promise is refused. Bodies, pixels and galleries in memory are bounded.
//! A request compares with the model that was active at its beginning, and never with vectors of another.
//! Without a model for embeddings, or with a damaged file of one, everything but comparing works, and says what to fetch.

mod checks;
mod config;
mod consent;
mod current_model;
mod deleted_users;
mod encoder;
mod forget;
mod gallery_keys;
mod http;
mod model_note;
pub mod program;
mod reembed;
mod repeated_deletions;
pub mod uploads;
mod vector_ids;

use std::sync::Arc;

use accounts::Accounts;
use api_kit::describe::Routes;
use contracts::Topics;
use gallery::Galleries;
use platform::Health;
use platform::http::{Limits, Listener, serve};
use platform::traces::Traces;
use store::{Blobs, Documents, Relational};
use tokio_util::sync::CancellationToken;
use vision::ModelArgs;

pub use config::{Config, SharedArgs, UploadArgs};
pub use consent::{ConsentRule, check_consents};
pub use deleted_users::{DELETED_USERS, erased_until, tenant_erasers};
pub use encoder::DETECTOR;
pub use forget::{PHOTOGRAPHS, forget_regularly, remaining};
pub use model_note::ModelNote;
use uploads::{Uploads, Verifier};

/// Dependencies of the service.
#[derive(Clone)]
pub struct Deps {
    /// Authenticates callers.
    pub accounts: Arc<dyn Accounts>,
    /// Subjects and vectors.
    pub database: Relational,
    /// The galleries of this database.
    pub galleries: Galleries,
    /// Detections and alerts, on which deleted subjects are forgotten.
    pub documents: Arc<dyn Documents>,
    /// Kept images.
    pub blobs: Arc<dyn Blobs>,
    /// For how long the log has what a deletion does not reach.
    pub topics: Topics,
    /// The log and the folder of uploads; without them photographs verify nobody.
    pub uploads: Option<Uploads>,
    /// Starts the spans of the service.
    pub traces: Traces,
}

/// The service is ready when the accounts and the subjects can be read. Without Redis it counts requests for itself. Without documents or
/// images it compares faces, and refuses to delete and to reject. With a folder of uploads it needs the log, and is degraded while photographs
/// wait for something else. Notes say who searches large galleries, and which model compares.
pub fn health(deps: &Deps, models: &ModelArgs) -> Health {
    let database = deps.database.clone();
    let search = move || {
        let database = database.clone();
        async move { database.face_search().await.map_or_else(|error| error.to_string(), |search| search.to_string()) }
    };
    let health = Health::default()
        .with_shared("accounts", &deps.accounts, |accounts| async move { accounts.check().await })
        .with_optional_shared("redis", deps.accounts.shared_limits(), |limits| async move { limits.check().await })
        .with_note("large galleries", search);
    let health = ModelNote::new(&deps.database, models).shown_by(health);
    match &deps.uploads {
        Some(uploads) => {
            uploads.shown_by(health.with_shared("bus", &uploads.bus, |bus| async move { bus.check().await }))
        }
        None => health,
    }
}

/// Serves `listener` and handles uploads until `stop`. A process with several services has [`Faces::routes`] on the port of another one
/// instead.
///
/// # Errors
/// When the listener fails, the log refuses for good, or somebody is enrolled without consent where it is required.
pub async fn run(
    config: Config,
    shared: SharedArgs,
    deps: Deps,
    listener: impl Into<Listener>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = listener.into().traced(deps.traces.clone());
    check_consents(&config, &deps.database).await?;
    let health = health(&deps, &shared.models).until(listener.leaving());
    let faces = Faces::new(&config, &shared, &deps);
    let router = http::router(&faces, &health);
    let serving = serve(listener, router, Limits::default(), stop.clone());
    let working = async {
        tokio::try_join!(serving, faces.verify_uploads(stop.clone()))?;
        Ok(())
    };
    tokio::select! {
        worked = working => worked,
        () = deps.galleries.sweep_regularly() => Ok(()),
        () = forget_regularly(&deps) => Ok(()),
        () = faces.reembed_regularly() => Ok(()),
    }
}

/// The routes of the service. A process that has them beside others' runs [`forget_regularly`], [`Faces::reembed_regularly`] and
/// [`Faces::verify_uploads`] too. Clones share the state behind them.
#[derive(Clone)]
pub struct Faces(http::App);

impl Faces {
    /// Opens no model: the first request with an image does.
    pub fn new(config: &Config, shared: &SharedArgs, deps: &Deps) -> Self {
        Self(http::App::new(config, shared, deps))
    }

    /// Makes the vectors of a model to which the service is being changed, without end. Several processes may do so; one at a time works.
    pub async fn reembed_regularly(&self) {
        reembed::reembed_regularly(&self.0).await;
    }

    /// The routes under `/v1/faces`, those that reject a detection, and that of a photograph, with their part of the OpenAPI document.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Routes<S> {
        http::routes().with_state(self.0.clone())
    }

    /// Handles uploads until `stop`, if there is a folder for them.
    ///
    /// # Errors
    /// When the log refuses for good.
    pub async fn verify_uploads(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let app = &self.0;
        let Some(uploads) = &app.uploads else {
            stop.cancelled().await;
            return Ok(());
        };
        let verifier = Verifier { database: app.database.clone(), encoders: Arc::clone(&app.encoders) };
        Box::pin(uploads::consume(uploads, verifier, &app.topics, stop)).await
    }
}
