//! The detector worker of an installation with Kafka; with `serve`, an engine behind HTTP without one.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bus::{KafkaBus, KafkaConfig};
use clap::{Args, Parser, Subcommand};
use detector_worker::{Config, Deps};
use platform::config::{BlobArgs, HttpArgs, KafkaArgs, OperatorArgs};
use platform::{Common, Health, http, shutdown, telemetry};

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
}

#[derive(Debug, Subcommand)]
enum Engine {
    /// Answer `POST /detect` with an image, without Kafka
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
    common: Common,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let program: Program = platform::config::parse();
    let ended = match program.engine {
        Some(Engine::Serve { own, http }) => Box::pin(serve(own, &http)).await,
        None => Box::pin(work(program.own, &program.kafka, &program.blobs)).await,
    };
    shutdown::exit(ended)
}

async fn work(own: Own, kafka: &KafkaArgs, blobs: &BlobArgs) -> anyhow::Result<()> {
    let Own { config, common, operator } = own;
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::metrics();
    let kafka = KafkaConfig {
        properties: kafka.properties()?,
        instance: kafka.instance()?,
        ..KafkaConfig::new(kafka.brokers()?)
    };
    let blob_url = blobs.url()?;
    let bus = KafkaBus::connect(kafka, &common.topics()?).await?;
    let deps = Deps::new(Arc::new(bus), Arc::new(store::ObjectBlobs::open(blob_url)?));
    let health = detector_worker::health(&config, &deps);
    let admin = http::admin(&operator.admin_addr, &health, axum::Router::new()).await?;
    let stop = shutdown::on_signal()?;
    let running = async {
        tokio::try_join!(
            detector_worker::run(config, common, deps, stop.clone()),
            http::serve_admin(admin, stop.clone())
        )
    };
    let grace = Duration::from_secs(operator.stop_grace_seconds);
    shutdown::within(grace, stop.clone(), Box::pin(async { running.await.map(drop) })).await
}

async fn serve(own: Own, listen: &HttpArgs) -> anyhow::Result<()> {
    let Own { config, common, operator } = own;
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::metrics();
    let listener = http::listen(listen).await?;
    let admin = http::admin(&operator.admin_addr, &Health::default(), axum::Router::new()).await?;
    let stop = shutdown::on_signal()?;
    let detectors = detector_worker::detectors(&config, &common)?;
    let running = async {
        tokio::try_join!(
            detector_worker::serve::serve(detectors, config, common, listener, stop.clone()),
            http::serve_admin(admin, stop.clone())
        )
    };
    let grace = Duration::from_secs(operator.stop_grace_seconds);
    shutdown::within(grace, stop.clone(), Box::pin(async { running.await.map(drop) })).await
}
