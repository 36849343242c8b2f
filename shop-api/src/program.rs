//! The shop of an installation with PostgreSQL, Redis and S3.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use accounts::{AccountArgs, AccountsService, AdminTokenArgs, Clock, RedisArgs, SharedState, TokenArgs};
use bus::{KafkaArgs, KafkaBus, TopicArgs};
use clap::Parser;
use media::Pipelines;
use models::FolderArgs;
use onnx::OnnxArgs;
use openid::{OpenIdArgs, Provider};
use platform::config::{HttpArgs, OperatorArgs};
use platform::traces::Traces;
use platform::{Process, shutdown};
use settings::{Check, SettingErrors};
use shop::{MockPayments, Shop, ShopDeps};
use store::{DatabaseArgs, MediaArgs, Relational, open_media};
use text::Embeddings;
use tokio_util::sync::CancellationToken;

use crate::{Audio, Config, Deps, Ports, ProxyArgs};

/// The shop for audiobooks: gRPC, REST, uploads and downloads
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    proxies: ProxyArgs,
    /// Users and how they sign in
    #[command(flatten, next_help_heading = "Accounts")]
    accounts: AccountArgs,
    #[command(flatten)]
    openid: OpenIdArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    connections: Connections,
    /// The audio pipeline, whose worker is another program
    #[command(flatten, next_help_heading = "Audio")]
    audio: AudioArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Debug, clap::Args)]
struct Connections {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    token: AdminTokenArgs,
    #[command(flatten)]
    media: MediaArgs,
}

/// What the service needs if books are worked on. The rest is the worker's.
#[derive(Debug, clap::Args)]
struct AudioArgs {
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    onnx: OnnxArgs,
}

impl Check for AudioArgs {
    fn check(&self, errors: &mut SettingErrors) {
        if self.topics.audio {
            errors.collect(self.kafka.config());
            self.topics.check(errors);
        }
    }
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.connections.database.url());
        errors.collect(self.connections.redis.url());
        errors.collect(self.connections.token.admin_token());
        errors.collect(open_media(&self.connections.media));
        errors.collect(self.accounts.mailer());
        self.audio.check(errors);
        self.openid.check(&self.tokens.token_issuer, errors);
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
    let Program { config, proxies, accounts, openid, tokens, connections, audio, http, operator } = program;
    let process = Process::start(operator)?;
    let config = Config { public_url: tokens.token_issuer.clone(), trusted_proxies: proxies.trusted_proxies, ..config };
    let issuing = Issuing { accounts, tokens, openid };
    let deps = Box::pin(connect(&connections, &issuing, &audio, &config)).await?;
    let deps = Deps { traces: process.traces("shop-api"), ..deps };
    let (health, accounts_service) = (crate::health(&deps), Arc::clone(&deps.accounts_service));
    let grpc = crate::listen(&config, &http).await?;
    let running = process.serve(&http, health, async |clients, stop| {
        let serving = crate::run(config, deps, Ports { clients, grpc }, stop.clone());
        tokio::try_join!(Box::pin(serving), maintain(accounts_service, stop)).map(drop)
    });
    Box::pin(running).await
}

/// Runs the maintenance of accounts until `stop`.
async fn maintain(accounts_service: Arc<AccountsService>, stop: CancellationToken) -> anyhow::Result<()> {
    accounts_service.run(stop).await;
    Ok(())
}

/// Settings of the accounts, which issue tokens here too.
struct Issuing {
    accounts: AccountArgs,
    tokens: TokenArgs,
    openid: OpenIdArgs,
}

/// The audio pipeline, if the settings turn it on.
async fn connect_audio(args: &AudioArgs, database: &Relational) -> anyhow::Result<Option<Audio>> {
    if !args.topics.audio {
        return Ok(None);
    }
    let bus = KafkaBus::connect(args.kafka.config()?, &args.topics.load()?).await?;
    let pipelines = Pipelines::new(database.clone(), media::Clock::system());
    let embeddings = Embeddings::new(args.folder.clone(), args.onnx.options(args.folder.dir(), 1));
    Ok(Some(Audio { pipelines, bus: Arc::new(bus), embeddings }))
}

async fn connect(
    connections: &Connections,
    issuing: &Issuing,
    audio: &AudioArgs,
    config: &Config,
) -> anyhow::Result<Deps> {
    let Connections { database, redis, token, media } = connections;
    let (url, token, media) = (database.url()?, token.token()?, open_media(media)?);
    let shared = SharedState::redis(redis.url()?.expose()).map_err(anyhow::Error::msg)?;
    let database = Relational::postgres(url.expose(), database.database_connections).await?;
    let database = database.with_answers(shared.answers());
    database.check_schema().await?;
    let (settings, clock) = (issuing.accounts.settings(&issuing.tokens), Clock::default());
    let provider = Provider::new(&issuing.openid, &settings.issuer)?;
    // Only ingest-api deletes users, so only there the erasers run.
    let deps = accounts::Deps { shared, mailer: issuing.accounts.mailer()?, clock: clock.clone(), erasers: Vec::new() };
    let accounts_service = AccountsService::open(database.clone(), settings, deps).await.map_err(anyhow::Error::msg)?;
    let payments = Arc::new(MockPayments::new(database.clone(), clock.clone()));
    let audio = connect_audio(audio, &database).await?;
    let pipelines = audio.as_ref().map(|audio| audio.pipelines.clone());
    let shop = ShopDeps { database, media, payments, accounts: Arc::clone(&accounts_service), pipelines, clock };
    Ok(Deps {
        accounts: accounts_service.with_admin_token(token.expose()).map_err(anyhow::Error::msg)?,
        accounts_service,
        openid: provider.map(Arc::new),
        shop: Shop::new(shop, &config.shop),
        audio,
        traces: Traces::off(),
    })
}
