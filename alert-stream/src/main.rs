//! The alert stream of an installation with Kafka.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use accounts::AdminToken;
use alert_stream::{Config, Deps};
use bus::{KafkaBus, KafkaConfig};
use clap::Parser;
use platform::config::{AdminTokenArgs, HttpArgs, KafkaArgs, OperatorArgs};
use platform::{Common, http, shutdown, telemetry};

/// Alerts in; server-sent events out
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
    token: AdminTokenArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    shutdown::exit(Box::pin(run(platform::config::parse())).await)
}

async fn run(program: Program) -> anyhow::Result<()> {
    let Program { config, common, kafka, token, http: listen, operator } = program;
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::metrics();
    let deps = connect(&common, &kafka, &token).await?;
    let listener = http::listen(&listen).await?;
    let health = alert_stream::health(&config, &deps);
    let admin = http::admin(&operator.admin_addr, &health, axum::Router::new()).await?;
    let stop = shutdown::on_signal()?;
    let running = async {
        tokio::try_join!(
            alert_stream::run(config, common, deps.clone(), listener, stop.clone()),
            http::serve_admin(admin, stop.clone())
        )?;
        Ok(deps.bus.close().await?)
    };
    shutdown::within(Duration::from_secs(operator.stop_grace_seconds), stop.clone(), running).await
}

async fn connect(common: &Common, kafka: &KafkaArgs, token: &AdminTokenArgs) -> anyhow::Result<Deps> {
    let kafka = KafkaConfig { properties: kafka.properties()?, ..KafkaConfig::new(kafka.brokers()?) };
    let token = token.token()?;
    let accounts =
        AdminToken::new(token.expose()).map_err(|error| anyhow::anyhow!("SIGHTLINE_ADMIN_TOKEN: {error}"))?;
    let bus = KafkaBus::connect(kafka, &common.topics()?).await?;
    Ok(Deps { bus: Arc::new(bus), accounts: Arc::new(accounts) })
}
