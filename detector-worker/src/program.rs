//! The detector worker for Kafka. `serve` offers the detectors over HTTP, without Kafka.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use bus::{KafkaArgs, KafkaBus};
use clap::{Args, Parser, Subcommand};
use gallery::Galleries;
use platform::config::{HttpArgs, OperatorArgs};
use platform::http::{self, OperatorPorts};
use platform::traces::TraceExporter;
use platform::{Health, shutdown, telemetry};
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
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::start_metrics();
    let traces = TraceExporter::start(&operator.traces)?;
    let kafka = kafka.group_member_config()?;
    let blob_url = blobs.url()?;
    let bus = KafkaBus::connect(kafka, &shared.topics.load()?).await?;
    let deps = Deps::new(Arc::new(bus), Arc::new(store::ObjectBlobs::open(blob_url)?));
    let galleries = if config.identity.faces_live { Some(faces.connect().await?) } else { None };
    let deps = Deps { traces: traces.service("detector-worker"), galleries, ..deps };
    let health = crate::health(&config, &deps);
    let ports = OperatorPorts::open(&operator, &health, axum::Router::new()).await?;
    let stop = shutdown::on_signal()?;
    let running = async { tokio::try_join!(crate::run(config, shared, deps, stop.clone()), ports.serve(stop.clone())) };
    let grace = operator.stop_grace;
    let ended = shutdown::within(grace, stop.clone(), Box::pin(async { running.await.map(drop) })).await;
    traces.close().await;
    ended
}

async fn serve(own: Own, listen: &HttpArgs) -> anyhow::Result<()> {
    let Own { config, shared, operator } = own;
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::start_metrics();
    let traces = TraceExporter::start(&operator.traces)?;
    let mut listener = http::listen(listen).await?.traced(traces.service("detector-worker"));
    let stop = listener.leave(shutdown::on_signal()?);
    let health = Health::default().until(listener.leaving());
    let ports = OperatorPorts::open(&operator, &health, axum::Router::new()).await?;
    let detectors = crate::detectors(&config, &shared)?;
    let running = async {
        tokio::try_join!(
            crate::serve::serve(detectors, config, shared, listener, stop.clone()),
            ports.serve(stop.clone())
        )
    };
    let grace = operator.stop_grace;
    let ended = shutdown::within(grace, stop.clone(), Box::pin(async { running.await.map(drop) })).await;
    traces.close().await;
    ended
}
