//! ingest-api of an installation with Kafka and MongoDB.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use accounts::AdminToken;
use bus::{KafkaBus, KafkaConfig};
use clap::Parser;
use ingest_api::{Config, Deps};
use platform::config::{AdminTokenArgs, BlobArgs, HttpArgs, KafkaArgs, MongoArgs, OperatorArgs};
use platform::{Common, Health, http, shutdown, telemetry};
use store::{MongoDocuments, ObjectBlobs};

/// The HTTP edge: frames in, answers out
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    connections: Connections,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Debug, clap::Args)]
struct Connections {
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    blobs: BlobArgs,
    #[command(flatten)]
    token: AdminTokenArgs,
}

fn main() -> ExitCode {
    let program = platform::config::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(run(program))),
        Err(error) => Err(anyhow::anyhow!("no threads to run on: {error}")),
    };
    shutdown::exit(outcome)
}

/// How many threads take requests: half of the cores, unless `TOKIO_WORKER_THREADS` says another number. librdkafka, which
/// checks and sends what they take in, has threads of its own; with more of ours they would mostly wake each other.
fn workers() -> usize {
    let asked = std::env::var("TOKIO_WORKER_THREADS").ok().and_then(|text| text.parse().ok());
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    asked.filter(|number| *number > 0).unwrap_or(cores.div_ceil(2))
}

async fn run(program: Program) -> anyhow::Result<()> {
    let Program { config, common, connections, http: listen, operator } = program;
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::metrics();
    let deps = connect(&connections, &common).await?;
    let health = ingest_api::health(&config, &deps);
    let listener = http::listen(&listen).await?;
    let admin = http::admin(&operator.admin_addr, &health, axum::Router::new()).await?;
    let stop = shutdown::on_signal()?;
    let running = async {
        tokio::try_join!(
            ingest_api::run(config, common, deps, listener, stop.clone()),
            http::serve_admin(admin, stop.clone())
        )
    };
    let grace = Duration::from_secs(operator.stop_grace_seconds);
    shutdown::within(grace, stop.clone(), Box::pin(async { running.await.map(drop) })).await
}

async fn connect(connections: &Connections, common: &Common) -> anyhow::Result<Deps> {
    let Connections { kafka, mongo, blobs, token } = connections;
    let kafka = KafkaConfig { properties: kafka.properties()?, ..KafkaConfig::new(kafka.brokers()?) };
    let (uri, blob_url, token) = (mongo.uri()?, blobs.url()?, token.token()?);
    let accounts =
        AdminToken::new(token.expose()).map_err(|error| anyhow::anyhow!("SIGHTLINE_ADMIN_TOKEN: {error}"))?;
    let bus = KafkaBus::connect(kafka, &common.topics()?).await?;
    let documents = MongoDocuments::connect(uri.expose(), mongo.mongodb_database.as_deref()).await?;
    let blobs = ObjectBlobs::open(blob_url)?;
    Ok(Deps {
        bus: Arc::new(bus),
        documents: Arc::new(documents),
        blobs: Arc::new(blobs),
        accounts: Arc::new(accounts),
        besides: Health::default(),
    })
}
