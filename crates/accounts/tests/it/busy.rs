//! Sign-ins while the queue of the hashing threads is full.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

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
    // The thread that hashed the password of the registration becomes free a moment after it.
    while let Poll::Ready(refused) = poll!(first.as_mut()) {
        assert!(matches!(refused, Err(AccountError::Busy)));
        tokio::time::sleep(Duration::from_millis(1)).await;
        first = Box::pin(sign_in(&accounts.one, "ann", PASSWORD));
    }
    for _ in 0..100 {
        assert!(matches!(sign_in(&accounts.one, "ann", PASSWORD).await, Err(AccountError::Busy)));
    }
    first.await.unwrap();
    accounts.sign_in("ann").await;
    accounts.stop().await;
}
