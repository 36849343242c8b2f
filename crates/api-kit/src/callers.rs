//! How a service that issues no tokens authenticates its callers: the settings, and the connections that follow from them.

use std::sync::Arc;

use accounts::{
    Accounts, AdminTokenArgs, Clock, RedisAnswers, RedisArgs, RedisLimits, TokenArgs, TokenVerifier, VerifierSettings,
    WithAdminToken,
};
use settings::{Check, SettingErrors};
use store::{DatabaseArgs, Relational};
use tokio_util::sync::CancellationToken;

/// Settings of the accounts, as every such service has them.
#[derive(Debug, clap::Args)]
pub struct CallerArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    token: AdminTokenArgs,
}

/// The accounts' database, and what verifies tokens with it.
pub struct Callers {
    /// The database, whose schema is that of this program.
    pub database: Relational,
    /// Authenticates callers and counts their requests.
    pub accounts: Arc<dyn Accounts>,
    verifier: Arc<TokenVerifier>,
}

impl Check for CallerArgs {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.database.url());
        errors.collect(self.redis.url());
        errors.collect(self.token.admin_token());
    }
}

impl CallerArgs {
    /// Connects. The service verifies tokens that ingest-api issues; it hashes no passwords, rotates no keys and sends no mail.
    ///
    /// # Errors
    /// When a setting is invalid, or the database cannot be reached or has another schema.
    pub async fn connect(&self) -> anyhow::Result<Callers> {
        let Self { database, redis, tokens, token } = self;
        let (url, redis, operator) = (database.url()?, redis.url()?, token.admin_token()?);
        let database = Relational::postgres(url.expose(), database.database_connections).await?;
        let answers = RedisAnswers::new(redis.expose()).map_err(anyhow::Error::msg)?;
        // A change of faces in this process ends what another one has cached.
        let database = database.with_answers(Arc::new(answers));
        database.check_schema().await?;
        let limits = RedisLimits::new(redis.expose()).map_err(anyhow::Error::msg)?;
        let settings = VerifierSettings {
            issuer: tokens.token_issuer.clone(),
            audience: tokens.token_audience.clone(),
            rate_limit: tokens.rate_limit_rps.0,
            ..VerifierSettings::default()
        };
        let verifier = TokenVerifier::open(database.clone(), settings, Arc::new(limits), Clock::default()).await?;
        let accounts = Arc::new(WithAdminToken::new(operator, verifier.clone()));
        Ok(Callers { database, accounts, verifier })
    }
}

impl Callers {
    /// Keeps revocations up to date until `stop`, beside the service.
    ///
    /// # Errors
    /// Never: while the database is away, it tries again.
    pub async fn watch_revocations(&self, stop: CancellationToken) -> anyhow::Result<()> {
        self.verifier.clone().run(stop).await;
        Ok(())
    }
}
