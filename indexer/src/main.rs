//! The indexer of an installation with Kafka and MongoDB.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bus::{KafkaBus, KafkaConfig};
use clap::Parser;
use indexer::{Config, Deps};
use platform::config::{KafkaArgs, MongoArgs, OperatorArgs};
use platform::{Common, http, shutdown, telemetry};
use store::MongoDocuments;

/// Results in; documents and alerts out
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    shutdown::exit(Box::pin(run(platform::config::parse())).await)
}

async fn run(program: Program) -> anyhow::Result<()> {
    let Program { config, common, kafka, mongo, operator } = program;
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::metrics();
    let deps = connect(&common, &kafka, &mongo).await?;
    let health = indexer::health(&config, &deps);
    let admin = http::admin(&operator.admin_addr, &health, axum::Router::new()).await?;
    let stop = shutdown::on_signal()?;
    let running = async {
        tokio::try_join!(
            indexer::run(config, common, deps.clone(), stop.clone()),
            http::serve_admin(admin, stop.clone())
        )?;
        Ok(deps.bus.close().await?)
    };
    shutdown::within(Duration::from_secs(operator.stop_grace_seconds), stop.clone(), running).await
}

async fn connect(common: &Common, kafka: &KafkaArgs, mongo: &MongoArgs) -> anyhow::Result<Deps> {
    let kafka = KafkaConfig {
        properties: kafka.properties()?,
        instance: kafka.instance()?,
        ..KafkaConfig::new(kafka.brokers()?)
    };
    let uri = mongo.uri()?;
    let bus = KafkaBus::connect(kafka, &common.topics()?).await?;
    let documents = MongoDocuments::connect(uri.expose(), mongo.mongodb_database.as_deref()).await?;
    Ok(Deps { bus: Arc::new(bus), documents: Arc::new(documents) })
}
