//! The alert stream of an installation with Kafka, PostgreSQL and Redis.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use accounts::{AdminToken, Clock, LogMailer, RedisLimits, RedisSessions, Settings, StoredAccounts, WithOperator};
use alert_stream::{Config, Deps};
use bus::{KafkaBus, KafkaConfig};
use clap::Parser;
use platform::config::{AdminTokenArgs, DatabaseArgs, HttpArgs, KafkaArgs, OperatorArgs, RedisArgs, TokenArgs};
use platform::{Common, http, shutdown, telemetry};
use store::Relational;
use tokio_util::sync::CancellationToken;

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
    callers: Callers,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// How callers are told from strangers.
#[derive(Debug, clap::Args)]
struct Callers {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    token: AdminTokenArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    shutdown::exit(Box::pin(run(platform::config::parse())).await)
}

async fn run(program: Program) -> anyhow::Result<()> {
    let Program { config, common, kafka, callers, http: listen, operator } = program;
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::metrics();
    // Missing settings are told in the order of the other services, before anything is connected to.
    kafka.brokers()?;
    let users = users(&callers).await?;
    let deps = connect(&common, &kafka, &callers, users.clone()).await?;
    let listener = http::listen(&listen).await?;
    let health = alert_stream::health(&config, &deps);
    let admin = http::admin(&operator.admin_addr, &health, axum::Router::new()).await?;
    let stop = shutdown::on_signal()?;
    let running = async {
        tokio::try_join!(
            alert_stream::run(config, common, deps.clone(), listener, stop.clone()),
            http::serve_admin(admin, stop.clone()),
            listening(users, stop.clone())
        )?;
        Ok(deps.bus.close().await?)
    };
    shutdown::within(Duration::from_secs(operator.stop_grace_seconds), stop.clone(), Box::pin(running)).await
}

/// Those who sign in elsewhere: here their tokens are read.
async fn users(callers: &Callers) -> anyhow::Result<Arc<StoredAccounts>> {
    let Callers { database, redis, tokens, .. } = callers;
    let (url, redis) = (database.url()?, redis.url()?);
    let store = Relational::postgres(url.expose(), database.database_connections).await?;
    store.check_schema().await?;
    let deps = accounts::Deps {
        limits: Arc::new(RedisLimits::new(redis.expose()).map_err(anyhow::Error::msg)?),
        sessions: Arc::new(RedisSessions::new(redis.expose()).map_err(anyhow::Error::msg)?),
        mailer: Arc::new(LogMailer),
        clock: Clock::default(),
    };
    let settings = Settings {
        issuer: tokens.token_issuer.clone(),
        audience: tokens.token_audience.clone(),
        access_token_life: Duration::from_secs(tokens.access_token_seconds),
        rate_limit: tokens.rate_limit_rps.0,
        ..Settings::default()
    };
    Ok(Arc::new(StoredAccounts::open(store, settings, deps).await.map_err(anyhow::Error::msg)?))
}

/// Hears what was taken back, until `stop`.
async fn listening(users: Arc<StoredAccounts>, stop: CancellationToken) -> anyhow::Result<()> {
    users.run(stop).await;
    Ok(())
}

async fn connect(
    common: &Common,
    kafka: &KafkaArgs,
    callers: &Callers,
    users: Arc<StoredAccounts>,
) -> anyhow::Result<Deps> {
    let kafka = KafkaConfig { properties: kafka.properties()?, ..KafkaConfig::new(kafka.brokers()?) };
    let token = callers.token.token()?;
    let operator =
        AdminToken::new(token.expose()).map_err(|error| anyhow::anyhow!("SIGHTLINE_ADMIN_TOKEN: {error}"))?;
    let bus = KafkaBus::connect(kafka, &common.topics()?).await?;
    Ok(Deps { bus: Arc::new(bus), accounts: Arc::new(WithOperator::new(operator, users)) })
}
