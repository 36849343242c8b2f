//! The API of an installation with Kafka, MongoDB, PostgreSQL and Redis.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::Arc;

use ::settings::{Check, SettingErrors};
use accounts::{AccountsService, AdminTokenArgs, Clock, RedisArgs, SharedState, TokenArgs};
use api_kit::describe::Routes;
use bus::{KafkaArgs, KafkaBus};
use clap::Parser;
use platform::config::{HttpArgs, OperatorArgs};
use platform::traces::Traces;
use platform::{Health, Process, shutdown};
use store::{
    BlobArgs, Blobs, DatabaseArgs, Documents, FilesInUse, MongoArgs, MongoDocuments, ObjectBlobs, Relational,
    tenant_erasers,
};
use tokio_util::sync::CancellationToken;

use crate::{Config, Deps, SharedArgs};

/// The HTTP edge: accepts frames, and serves results and alerts
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    connections: Connections,
    #[command(flatten)]
    tokens: TokenArgs,
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
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    token: AdminTokenArgs,
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        self.connections.check(errors);
        self.config.check(&self.shared, errors);
        self.config.openid.check(&self.tokens.token_issuer, errors);
        self.http.check(errors);
        self.operator.check(errors);
    }
}

impl Check for Connections {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.kafka.config());
        errors.collect(self.mongo.uri());
        errors.collect(self.blobs.url());
        errors.collect(self.database.url());
        errors.collect(self.redis.url());
        errors.collect(self.token.admin_token());
    }
}

/// Reads the settings, connects and runs until a signal.
pub fn main() -> ExitCode {
    let program = ::settings::parse_and_check();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(run(program))),
        Err(error) => Err(anyhow::anyhow!("no threads to run on: {error}")),
    };
    shutdown::exit(outcome)
}

/// Threads for requests: half of the cores, or `TOKIO_WORKER_THREADS`. librdkafka has its own
/// threads; with more threads here, most CPU time would be spent on waking threads.
fn workers() -> usize {
    let requested = std::env::var("TOKIO_WORKER_THREADS").ok().and_then(|text| text.parse().ok());
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    requested.filter(|number| *number > 0).unwrap_or(cores.div_ceil(2))
}

async fn run(program: Program) -> anyhow::Result<()> {
    let Program { config, shared, connections, tokens, http, operator } = program;
    let process = Process::start(operator)?;
    if config.accounts.smtp_url.is_none() {
        tracing::warn!(
            "SIGHTLINE_SMTP_URL is not set: password-reset mails are not sent but written to this log, with their secrets"
        );
    }
    let deps = connect(&connections, &shared, &tokens, &config).await?;
    let deps = Deps { traces: process.traces("ingest-api"), ..deps };
    let (health, accounts_service) = (crate::health(&config, &deps), deps.accounts_service.clone());
    let running = process.serve(&http, health, async |listener, stop| {
        let serving = crate::run(config, shared, deps, listener, stop.clone());
        tokio::try_join!(serving, maintain(accounts_service, stop)).map(drop)
    });
    Box::pin(running).await
}

/// Runs the maintenance of accounts until `stop`.
async fn maintain(accounts_service: Arc<AccountsService>, stop: CancellationToken) -> anyhow::Result<()> {
    accounts_service.run(stop).await;
    Ok(())
}

async fn connect(
    connections: &Connections,
    shared_args: &SharedArgs,
    tokens: &TokenArgs,
    config: &Config,
) -> anyhow::Result<Deps> {
    let Connections { kafka, mongo, blobs, database, redis, token } = connections;
    let kafka = kafka.config()?;
    let (uri, blob_url, token) = (mongo.uri()?, blobs.url()?, token.token()?);
    let database_url = database.url()?;
    let shared = SharedState::redis(redis.url()?.expose()).map_err(anyhow::Error::msg)?;
    let (settings, mailer) = (config.accounts.settings(tokens), config.accounts.mailer()?);
    let database = Relational::postgres(database_url.expose(), database.database_connections).await?;
    let database = database.with_answers(shared.answers());
    database.check_schema().await?;
    let bus = KafkaBus::connect(kafka, &shared_args.topics.load()?).await?;
    let documents = MongoDocuments::connect(uri.expose(), mongo.mongodb_database.as_deref()).await?;
    let (documents, blobs): (Arc<dyn Documents>, Arc<dyn Blobs>) =
        (Arc::new(documents), Arc::new(ObjectBlobs::open(blob_url)?));
    let subjects = database.clone();
    let erasers = tenant_erasers(&documents, &blobs, &database);
    let deps = accounts::Deps { shared, mailer, clock: Clock::default(), erasers };
    let accounts_service = AccountsService::open(database, settings, deps).await.map_err(anyhow::Error::msg)?;
    let accounts = accounts_service.with_admin_token(token.expose()).map_err(anyhow::Error::msg)?;
    Ok(Deps {
        bus: Arc::new(bus),
        documents,
        blobs,
        accounts,
        accounts_service,
        subjects,
        files_in_use: FilesInUse::default(),
        other_services: Health::default(),
        other_routes: Routes::default(),
        traces: Traces::off(),
    })
}
