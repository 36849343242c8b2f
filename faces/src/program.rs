//! The faces of an installation with PostgreSQL and Redis.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use api_kit::callers::CallerArgs;
use bus::TopicArgs;
use clap::Parser;
use contracts::{FaceArgs, FrameArgs};
use platform::config::{HttpArgs, OperatorArgs};
use platform::{Process, shutdown};
use settings::{Check, SettingErrors};
use store::{BlobArgs, GalleryArgs, MongoArgs, MongoDocuments, ObjectBlobs};
use vision::{InferenceArgs, ModelArgs};

use crate::{Config, Deps, SharedArgs};

/// Faces as identities: enrols, verifies and searches them
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    frames: FrameArgs,
    #[command(flatten)]
    models: ModelArgs,
    #[command(flatten)]
    inference: InferenceArgs,
    #[command(flatten)]
    uses: FaceArgs,
    #[command(flatten)]
    callers: CallerArgs,
    #[command(flatten)]
    galleries: GalleryArgs,
    #[command(flatten)]
    stores: StoreArgs,
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// Where a deleted subject is forgotten.
#[derive(Debug, clap::Args)]
struct StoreArgs {
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    blobs: BlobArgs,
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.models.registry());
        errors.collect(self.stores.mongo.uri());
        errors.collect(self.stores.blobs.url());
        self.topics.check(errors);
        self.callers.check(errors);
        self.http.check(errors);
        self.operator.check(errors);
    }
}

/// Reads the settings, connects and runs until a signal.
#[tokio::main]
pub async fn main() -> ExitCode {
    shutdown::exit(Box::pin(run(settings::parse_and_check())).await)
}

async fn run(program: Program) -> anyhow::Result<()> {
    let Program { config, frames, models, inference, uses, callers, galleries, stores, topics, http, operator } =
        program;
    let process = Process::start(operator)?;
    let StoreArgs { mongo, blobs } = stores;
    let (uri, blob_url) = (mongo.uri()?, blobs.url()?);
    let callers = callers.connect().await?;
    callers.database.log_face_search().await;
    let documents = MongoDocuments::connect(uri.expose(), mongo.mongodb_database.as_deref()).await?;
    let deps = Deps {
        accounts: callers.accounts.clone(),
        galleries: galleries.galleries(&callers.database),
        database: callers.database.clone(),
        documents: Arc::new(documents),
        blobs: Arc::new(ObjectBlobs::open(blob_url)?),
        topics: topics.load()?,
        traces: process.traces("faces"),
    };
    let shared = SharedArgs { frames, models, inference, uses };
    let health = crate::health(&deps);
    let running = process.serve(&http, health, async |listener, stop| {
        let serving = crate::run(config, shared, deps, listener, stop.clone());
        tokio::try_join!(serving, callers.watch_revocations(stop)).map(drop)
    });
    running.await
}
