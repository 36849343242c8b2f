//! Background work of the service that issues tokens.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::sqlite::stores;
use crate::test_accounts::{TestAccounts, settings};

#[tokio::test]
async fn expired_rows_are_deleted_when_the_key_rotation_fails() {
    let folder = TempDir::new().unwrap();
    let mut accounts = TestAccounts::on(stores(&folder).await).await;
    accounts.stop().await;
    let service = accounts.open(settings(), Vec::new()).await;
    let expired = Uuid::new_v4();
    accounts.store.revoke_access_token(expired, Timestamp::now() - Duration::from_secs(3600)).await.unwrap();
    let path = folder.path().join("accounts.sqlite");
    let mut database = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::raw_sql("ALTER TABLE signing_keys DROP COLUMN private_key").execute(&mut database).await.unwrap();

    service.maintain_once().await.expect_err("the signing keys cannot be read");
    let kept = accounts.store.revocations_after(0).await.unwrap();
    assert!(kept.iter().all(|revocation| revocation.subject != expired), "{kept:?}");
}
