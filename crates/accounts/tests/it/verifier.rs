//! A service that only verifies credentials needs no private key.

use std::sync::Arc;
use std::time::Duration;

use accounts::{Accounts, LocalLimits, Scope, Settings, TokenVerifier};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use store::Relational;
use tempfile::TempDir;
use testing::eventually;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::postgres::on_two_instances;
use crate::sqlite::stores;
use crate::test_accounts::{TestAccounts, settings};

async fn verifier(store: Relational, accounts: &TestAccounts) -> Arc<TokenVerifier> {
    let limits = Arc::new(LocalLimits::default());
    TokenVerifier::open(store, settings().verifier(), limits, accounts.clock.clone()).await.unwrap()
}

#[tokio::test]
async fn a_verifier_works_without_the_private_keys() {
    let folder = TempDir::new().unwrap();
    let mut accounts = TestAccounts::on(stores(&folder).await).await;
    accounts.register("ann").await;
    let token = accounts.sign_in("ann").await.access_token;
    accounts.stop().await;
    let path = folder.path().join("accounts.sqlite");
    let mut database = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::raw_sql("ALTER TABLE signing_keys DROP COLUMN private_key").execute(&mut database).await.unwrap();

    let store = Relational::sqlite(&path).await.unwrap();
    store.signing_keys().await.expect_err("the private keys are gone");
    verifier(store, &accounts).await.authenticate(token.expose()).await.unwrap();
}

/// Creates the role of `docker/postgres/verifier.sql` under another name, because all databases of
/// a server share roles. Returns the address of the database with this role.
async fn create_verifier_role(url: &str, role: &str) -> String {
    let script = include_str!("../../../../docker/postgres/verifier.sql").replace("sightline_verifier", role);
    run(url, &format!("{script} ALTER ROLE {role} PASSWORD 'secret'")).await;
    let (_, host) = url.rsplit_once('@').unwrap();
    format!("postgres://{role}:secret@{host}")
}

async fn run(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres"]
async fn a_verifiers_role_reads_no_private_key_and_no_password() {
    on_two_instances(async |accounts, url| {
        let user = accounts.register("ann").await;
        let role = format!("verifier_{}", Uuid::now_v7().simple());
        let store = Relational::postgres(&create_verifier_role(url, &role).await, 2).await.unwrap();
        store.check_schema().await.unwrap();
        store.signing_keys().await.expect_err("it contains private keys");
        store.password_by_login("ann").await.expect_err("it contains the hash of the password");

        let (verifier, stop) = (verifier(store.clone(), accounts).await, CancellationToken::new());
        let running = tokio::spawn({
            let (verifier, stop) = (verifier.clone(), stop.clone());
            async move { verifier.run(stop).await }
        });
        let caller = accounts.caller("ann").await;
        let api_token = accounts.api_token(&caller, &[Scope::AlertsRead]).await;
        verifier.authenticate(api_token.expose()).await.unwrap();
        let settings = Settings::default();
        accounts.clock.advance(settings.signing_key_life - settings.signing_key_lead);
        accounts.one.maintain_once().await.unwrap();
        accounts.clock.advance(settings.signing_key_lead + Duration::from_secs(1));
        let token = accounts.sign_in("ann").await.access_token;
        eventually("the verifier has the next key", async || verifier.authenticate(token.expose()).await.is_ok()).await;
        stop.cancel();
        running.await.unwrap();
        let recorded = accounts.one.api_tokens(user.id).await.unwrap()[0].last_used_at;
        assert!(recorded.is_some(), "it records the use of API tokens");

        store.close().await;
        run(url, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    })
    .await;
}
