//! The faces of an installation with PostgreSQL and Redis. With a folder of uploads it also reads them from Kafka.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use api_kit::callers::CallerArgs;
use bus::{KafkaArgs, KafkaBus, TopicArgs};
use clap::Parser;
use contracts::{FaceArgs, FrameArgs, Topics};
use platform::config::{HttpArgs, OperatorArgs};
use platform::{Process, shutdown};
use settings::{Check, SettingErrors};
use store::{BlobArgs, GalleryArgs, MongoArgs, MongoDocuments, ObjectBlobs};
use vision::{InferenceArgs, ModelArgs};

use crate::uploads::{UploadFolder, Uploads};
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
    log: LogArgs,
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

/// Where uploads are announced.
#[derive(Debug, clap::Args)]
struct LogArgs {
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        if self.config.uploads.faces_uploads_dir.is_some() {
            errors.collect(self.log.kafka.group_member_config());
        }
        errors.collect(self.models.registry());
        errors.collect(self.stores.mongo.uri());
        errors.collect(self.stores.blobs.url());
        self.log.topics.check(errors);
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
    let Program { config, frames, models, inference, uses, callers, galleries, stores, log, http, operator } = program;
    let process = Process::start(operator)?;
    let StoreArgs { mongo, blobs } = stores;
    let (uri, blob_url, topics) = (mongo.uri()?, blobs.url()?, log.topics.load()?);
    let uploads = uploads(&config, &frames, &log.kafka, &topics).await?;
    let bus = uploads.as_ref().map(|uploads| Arc::clone(&uploads.bus));
    let callers = callers.connect().await?;
    callers.database.log_face_search().await;
    let documents = MongoDocuments::connect(uri.expose(), mongo.mongodb_database.as_deref()).await?;
    let deps = Deps {
        accounts: callers.accounts.clone(),
        galleries: galleries.galleries(&callers.database),
        database: callers.database.clone(),
        documents: Arc::new(documents),
        blobs: Arc::new(ObjectBlobs::open(blob_url)?),
        topics,
        uploads,
        traces: process.traces("faces"),
    };
    let shared = SharedArgs { frames, models, inference, uses };
    let health = crate::health(&deps, &shared.models);
    let running = process.serve(&http, health, async |listener, stop| {
        let serving = crate::run(config, shared, deps, listener, stop.clone());
        tokio::try_join!(serving, callers.watch_revocations(stop)).map(drop)?;
        if let Some(bus) = bus {
            bus.close().await?;
        }
        Ok(())
    });
    running.await
}

/// The folder of uploads and the log, if a folder is set; without one the service does not connect to Kafka.
async fn uploads(
    config: &Config,
    frames: &FrameArgs,
    kafka: &KafkaArgs,
    topics: &Topics,
) -> anyhow::Result<Option<Uploads>> {
    let Some(folder) = UploadFolder::configured(config, frames)? else { return Ok(None) };
    let bus = KafkaBus::connect(kafka.group_member_config()?, topics).await?;
    Ok(Some(Uploads::new(Arc::new(bus), folder)))
}
