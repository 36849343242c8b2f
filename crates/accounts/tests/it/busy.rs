//! Sign-ins while the queue of the hashing threads is full.

use std::sync::Arc;

use accounts::{AccountError, Hashing, LocalLimits, Settings};
use futures::poll;
use tempfile::TempDir;

use crate::sqlite::stores;
use crate::test_accounts::{PASSWORD, TestAccounts, settings, sign_in};

#[tokio::test]
async fn a_sign_in_refused_as_busy_is_not_counted_as_an_attempt() {
    let folder = TempDir::new().unwrap();
    // A hash takes much longer than a hundred refusals.
    let hashing = Hashing { memory_kib: 64 << 10, passes: 4, waiting: 0, ..settings().hashing };
    let alone = Settings { hashing, ..settings() };
    let mut accounts = TestAccounts::with(stores(&folder).await, alone, || Arc::new(LocalLimits::default())).await;
    accounts.register("ann").await;
    let mut first = Box::pin(sign_in(&accounts.one, "ann", PASSWORD));
    assert!(poll!(first.as_mut()).is_pending());
    for _ in 0..100 {
        assert!(matches!(sign_in(&accounts.one, "ann", PASSWORD).await, Err(AccountError::Busy)));
    }
    first.await.unwrap();
    accounts.sign_in("ann").await;
    accounts.stop().await;
}
