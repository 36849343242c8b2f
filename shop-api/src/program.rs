//! The shop of an installation with PostgreSQL, Redis and S3.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use accounts::{AccountArgs, AccountsService, AdminTokenArgs, Clock, RedisArgs, SharedState, TokenArgs};
use clap::Parser;
use openid::{OpenIdArgs, Provider};
use platform::config::{HttpArgs, OperatorArgs};
use platform::traces::Traces;
use platform::{Process, shutdown};
use settings::{Check, SettingErrors};
use shop::{MockPayments, Shop, ShopDeps};
use store::{DatabaseArgs, MediaArgs, Relational, open_media};
use tokio_util::sync::CancellationToken;

use crate::{Config, Deps, Ports, ProxyArgs};

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

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.connections.database.url());
        errors.collect(self.connections.redis.url());
        errors.collect(self.connections.token.admin_token());
        errors.collect(open_media(&self.connections.media));
        errors.collect(self.accounts.mailer());
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
    let Program { config, proxies, accounts, openid, tokens, connections, http, operator } = program;
    let process = Process::start(operator)?;
    let config = Config { public_url: tokens.token_issuer.clone(), trusted_proxies: proxies.trusted_proxies, ..config };
    let issuing = Issuing { accounts, tokens, openid };
    let deps = connect(&connections, &issuing, &config).await?;
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

async fn connect(connections: &Connections, issuing: &Issuing, config: &Config) -> anyhow::Result<Deps> {
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
    let shop = ShopDeps { database, media, payments, accounts: Arc::clone(&accounts_service), clock };
    Ok(Deps {
        accounts: accounts_service.with_admin_token(token.expose()).map_err(anyhow::Error::msg)?,
        accounts_service,
        openid: provider.map(Arc::new),
        shop: Shop::new(shop, &config.shop),
        traces: Traces::off(),
    })
}
