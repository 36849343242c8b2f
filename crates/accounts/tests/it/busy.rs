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
    let alone = Settings { hashing: Hashing { waiting: 0, ..settings().hashing }, ..settings() };
    let mut accounts = TestAccounts::with(stores(&folder).await, alone, || Arc::new(LocalLimits::default())).await;
    accounts.register("ann").await;
    let mut refused = 0;
    while refused < 100 {
        let mut hashing = Box::pin(sign_in(&accounts.one, "ann", PASSWORD));
        assert!(poll!(hashing.as_mut()).is_pending());
        // One is accepted when the hash is done already.
        for _ in 0..10 {
            match sign_in(&accounts.one, "ann", PASSWORD).await {
                Err(AccountError::Busy) => refused += 1,
                other => drop(other.unwrap()),
            }
        }
        hashing.await.unwrap();
    }
    accounts.sign_in("ann").await;
    accounts.stop().await;
}
