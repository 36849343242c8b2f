//! Deleting a user with the data of its tenant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use accounts::{AccountError, Accounts, AccountsService, Actor, SecretText};
use async_trait::async_trait;
use contracts::TenantId;
use store::{Erased, StoreError, TenantEraser};

use crate::test_accounts::{PASSWORD, TestAccounts, settings, sign_in};

/// Reports `count` deleted objects of each tenant, after a number of failures.
struct TestEraser {
    what: &'static str,
    count: u64,
    failures: AtomicUsize,
}

impl TestEraser {
    fn new(what: &'static str, count: u64, failures: usize) -> Arc<Self> {
        Arc::new(Self { what, count, failures: AtomicUsize::new(failures) })
    }
}

#[async_trait]
impl TenantEraser for TestEraser {
    async fn erase(&self, _: &TenantId) -> Result<Erased, StoreError> {
        let failing = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match failing {
            Ok(_) => Err(StoreError::Unavailable("the store is unreachable".to_owned())),
            Err(_) => Ok(Erased { what: self.what, count: self.count }),
        }
    }
}

pub async fn a_failed_deletion_can_be_repeated_and_returns_receipts(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let erasers: Vec<Arc<dyn TenantEraser>> = vec![TestEraser::new("documents", 3, 0), TestEraser::new("images", 2, 1)];
    let service = accounts.open(settings(), erasers).await;

    let failed = service.delete_user(ann.id, &Actor::default()).await.unwrap_err();
    assert_eq!(failed, AccountError::Unavailable("the store is unreachable".to_owned()));
    assert!(accounts.one.user(ann.id).await.unwrap().disabled, "a disabled user cannot write");
    assert_eq!(sign_in(&accounts.one, "ann", PASSWORD).await.unwrap_err(), AccountError::WrongPassword);

    let erased = service.delete_user(ann.id, &Actor::default()).await.unwrap();
    assert_eq!(erased, [Erased { what: "documents", count: 3 }, Erased { what: "images", count: 2 }]);
    assert_eq!(accounts.one.user(ann.id).await.unwrap_err(), AccountError::NotFound("user"));
    let log = service.audit_log(Some(ann.id), None, 1).await.unwrap();
    assert_eq!((log[0].action.as_str(), log[0].detail.as_deref()), ("deleted", Some("3 documents, 2 images")));
}

/// Records whether an instance still accepts a credential while it erases.
struct AcceptsDuringErasure {
    instance: Arc<AccountsService>,
    token: SecretText,
    accepted: AtomicBool,
}

#[async_trait]
impl TenantEraser for AcceptsDuringErasure {
    async fn erase(&self, _: &TenantId) -> Result<Erased, StoreError> {
        let accepted = self.instance.authenticate(self.token.expose()).await.is_ok();
        self.accepted.store(accepted, Ordering::SeqCst);
        Ok(Erased { what: "documents", count: 0 })
    }
}

pub async fn erasers_run_after_every_instance_refuses_the_user(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let token = accounts.sign_in("ann").await.access_token;
    accounts.assert_accepted(&token).await;
    let (instance, accepted) = (Arc::clone(&accounts.other), AtomicBool::new(true));
    let eraser = Arc::new(AcceptsDuringErasure { instance, token, accepted });
    let service = accounts.open(settings(), vec![eraser.clone()]).await;
    service.delete_user(ann.id, &Actor::default()).await.unwrap();
    assert!(!eraser.accepted.load(Ordering::SeqCst));
}

pub async fn the_operators_own_user_is_not_deleted(accounts: &mut TestAccounts) {
    let operator = accounts.one.operator().await.unwrap();
    let refused = accounts.one.delete_user(operator.id, &Actor::default()).await.unwrap_err();
    assert_eq!(refused, AccountError::OperatorUser);
    assert!(!accounts.one.user(operator.id).await.unwrap().disabled);
}
