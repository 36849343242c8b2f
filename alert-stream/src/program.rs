//! The alert stream of an installation with Kafka, PostgreSQL and Redis.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use accounts::{AdminTokenArgs, RedisArgs, TokenArgs};
use accounts::{Clock, RedisLimits, TokenVerifier, VerifierSettings, WithAdminToken};
use bus::{KafkaArgs, KafkaBus, TopicArgs};
use clap::Parser;
use platform::config::{HttpArgs, OperatorArgs};
use platform::http::{self, OperatorPorts};
use platform::traces::{TraceExporter, Traces};
use platform::{shutdown, telemetry};
use settings::{Check, SettingErrors};
use store::DatabaseArgs;
use store::Relational;
use tokio_util::sync::CancellationToken;

use crate::{Config, Deps};

/// Alerts in; server-sent events out
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    callers: Callers,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// How callers are authenticated.
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

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.kafka.config());
        errors.collect(self.callers.database.url());
        errors.collect(self.callers.redis.url());
        errors.collect(self.callers.token.admin_token());
        self.topics.check(errors);
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
    let Program { config, topics, kafka, callers, http: listen, operator } = program;
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::start_metrics();
    let traces = TraceExporter::start(&operator.traces)?;
    let verifier = verifier(&callers).await?;
    let deps = connect(&topics, &kafka, &callers, verifier.clone()).await?;
    let deps = Deps { traces: traces.service("alert-stream"), ..deps };
    let mut listener = http::listen(&listen).await?;
    let stop = listener.leave(shutdown::on_signal()?);
    let health = crate::health(&config, &deps).until(listener.leaving());
    let ports = OperatorPorts::open(&operator, &health, axum::Router::new()).await?;
    let running = async {
        tokio::try_join!(
            crate::run(config, deps.clone(), listener, stop.clone()),
            ports.serve(stop.clone()),
            watch_revocations(verifier, stop.clone())
        )?;
        Ok(deps.bus.close().await?)
    };
    let ended = shutdown::within(operator.stop_grace, stop.clone(), Box::pin(running)).await;
    traces.close().await;
    ended
}

/// Verifies tokens that ingest-api issues. This service hashes no passwords, rotates no keys and sends no mail.
async fn verifier(callers: &Callers) -> anyhow::Result<Arc<TokenVerifier>> {
    let Callers { database, redis, tokens, .. } = callers;
    let (url, redis) = (database.url()?, redis.url()?);
    let store = Relational::postgres(url.expose(), database.database_connections).await?;
    store.check_schema().await?;
    let limits = RedisLimits::new(redis.expose()).map_err(anyhow::Error::msg)?;
    let settings = VerifierSettings {
        issuer: tokens.token_issuer.clone(),
        audience: tokens.token_audience.clone(),
        rate_limit: tokens.rate_limit_rps.0,
        ..VerifierSettings::default()
    };
    Ok(TokenVerifier::open(store, settings, Arc::new(limits), Clock::default()).await?)
}

/// Keeps revocations up to date until `stop`.
async fn watch_revocations(verifier: Arc<TokenVerifier>, stop: CancellationToken) -> anyhow::Result<()> {
    verifier.run(stop).await;
    Ok(())
}

async fn connect(
    topics: &TopicArgs,
    kafka: &KafkaArgs,
    callers: &Callers,
    verifier: Arc<TokenVerifier>,
) -> anyhow::Result<Deps> {
    let kafka = kafka.config()?;
    let operator = callers.token.admin_token()?;
    let bus = KafkaBus::connect(kafka, &topics.load()?).await?;
    let accounts = Arc::new(WithAdminToken::new(operator, verifier));
    Ok(Deps { bus: Arc::new(bus), accounts, traces: Traces::off() })
}
