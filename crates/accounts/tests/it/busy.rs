//! More sign-ins than can be hashed.

use std::sync::Arc;

use accounts::{AccountError, Hashing, LocalLimits, Settings};
use futures::poll;
use tempfile::TempDir;

use crate::site::{PASSWORD, Site, settings, sign_in};
use crate::sqlite::stores;

#[tokio::test]
async fn a_sign_in_that_finds_no_room_costs_its_user_no_attempt() {
    let folder = TempDir::new().unwrap();
    let alone = Settings { hashing: Hashing { waiting: 0, ..settings().hashing }, ..settings() };
    let mut site = Site::with(stores(&folder).await, alone, || Arc::new(LocalLimits::default())).await;
    site.register("ann").await;
    let mut first = Box::pin(sign_in(&site.one, "ann", PASSWORD));
    assert!(poll!(first.as_mut()).is_pending());
    for _ in 0..100 {
        assert!(matches!(sign_in(&site.one, "ann", PASSWORD).await, Err(AccountError::Busy)));
    }
    first.await.unwrap();
    site.sign_in("ann").await;
    site.stop().await;
}
