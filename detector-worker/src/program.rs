//! The detector worker for Kafka. `serve` offers the detectors over HTTP, without Kafka.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use bus::{KafkaArgs, KafkaBus};
use clap::{Args, Parser, Subcommand};
use gallery::Galleries;
use platform::config::{HttpArgs, OperatorArgs};
use platform::{Health, Process, shutdown};
use settings::{Check, SettingErrors};
use store::{BlobArgs, DatabaseArgs, GalleryArgs, Relational};

use crate::{Config, Deps, SharedArgs};

/// Frames in, results out: decode, batch, infer, publish
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Program {
    #[command(subcommand)]
    engine: Option<Engine>,
    #[command(flatten)]
    own: Own,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    blobs: BlobArgs,
    #[command(flatten)]
    faces: EnrolledFaces,
}

/// The enrolled faces, which are needed only if faces are compared.
#[derive(Debug, Args)]
struct EnrolledFaces {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    galleries: GalleryArgs,
}

impl EnrolledFaces {
    async fn connect(&self) -> anyhow::Result<Galleries> {
        let DatabaseArgs { database_connections, .. } = self.database;
        let database = Relational::postgres(self.database.url()?.expose(), database_connections).await?;
        database.check_schema().await?;
        database.log_face_search().await;
        Ok(self.galleries.galleries(&database))
    }
}

#[derive(Debug, Subcommand)]
enum Engine {
    /// Serve the detectors over HTTP (`POST /detect`), without Kafka
    Serve {
        #[command(flatten)]
        own: Own,
        #[command(flatten)]
        http: HttpArgs,
    },
}

#[derive(Debug, Args)]
struct Own {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        match &self.engine {
            Some(Engine::Serve { own, http }) => {
                own.check(errors);
                http.check(errors);
            }
            None => {
                errors.collect(self.kafka.group_member_config());
                errors.collect(self.blobs.url());
                if self.own.config.identity.faces_live {
                    errors.collect(self.faces.database.url());
                }
                self.own.check(errors);
            }
        }
    }
}

impl Check for Own {
    fn check(&self, errors: &mut SettingErrors) {
        self.config.check_with(&self.shared.frames.detectors, &self.shared.faces, errors);
        self.shared.topics.check(errors);
        self.operator.check(errors);
    }
}

/// Reads the settings, connects and runs until a signal.
#[tokio::main]
pub async fn main() -> ExitCode {
    let program: Program = settings::parse_and_check();
    let ended = match program.engine {
        Some(Engine::Serve { own, http }) => Box::pin(serve(own, &http)).await,
        None => Box::pin(work(program.own, &program.kafka, &program.blobs, &program.faces)).await,
    };
    shutdown::exit(ended)
}

async fn work(own: Own, kafka: &KafkaArgs, blobs: &BlobArgs, faces: &EnrolledFaces) -> anyhow::Result<()> {
    let Own { config, shared, operator } = own;
    let process = Process::start(operator)?;
    let kafka = kafka.group_member_config()?;
    let blob_url = blobs.url()?;
    let bus = KafkaBus::connect(kafka, &shared.topics.load()?).await?;
    let deps = Deps::new(Arc::new(bus), Arc::new(store::ObjectBlobs::open(blob_url)?));
    let galleries = if config.identity.faces_live { Some(faces.connect().await?) } else { None };
    let deps = Deps { traces: process.traces("detector-worker"), galleries, ..deps };
    let health = crate::health(&config, &deps);
    process.run(&health, async |stop| Box::pin(crate::run(config, shared, deps, stop)).await).await
}

async fn serve(own: Own, http: &HttpArgs) -> anyhow::Result<()> {
    let Own { config, shared, operator } = own;
    let process = Process::start(operator)?;
    let traces = process.traces("detector-worker");
    let running = process.serve(http, Health::default(), async |listener, stop| {
        let detectors = crate::detectors(&config, &shared)?;
        Box::pin(crate::serve::serve(detectors, config, shared, listener.traced(traces), stop)).await
    });
    running.await
}
