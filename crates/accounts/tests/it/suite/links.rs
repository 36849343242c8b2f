//! Signed links.

use std::time::Duration;

use accounts::{AccessError, AccountError, Accounts, Actor, LinkKind, SecretText};
use store::relational::AccessChange;
use testing::eventually;

use crate::test_accounts::{SECOND, TestAccounts};

const GRANT: &str = "book 1, master";

async fn link_of(accounts: &TestAccounts, name: &str) -> SecretText {
    let user = accounts.one.user_named(name).await.unwrap().id;
    accounts.one.sign_link(LinkKind::Media, user, &GRANT).await.unwrap().0
}

pub async fn a_link_returns_what_it_was_signed_for_until_it_expires(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let link = link_of(accounts, "ann").await;
    for instance in [&accounts.one, &accounts.other] {
        let verified = instance.verify_link::<String>(LinkKind::Media, link.expose()).await.unwrap();
        assert_eq!((verified.user.id, verified.grant.as_str()), (ann.id, GRANT));
    }
    accounts.clock.advance(LinkKind::Media.life() + Duration::from_secs(1));
    let expired = accounts.one.verify_link::<String>(LinkKind::Media, link.expose()).await;
    assert_eq!(expired.unwrap_err(), AccessError::InvalidCredential);
}

pub async fn a_link_is_of_one_kind_and_no_access_token(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let link = link_of(accounts, "ann").await;
    let token = accounts.sign_in("ann").await.access_token;
    let mut forged = link.expose().to_owned();
    let last = if forged.ends_with('A') { 'B' } else { 'A' };
    forged.replace_range(forged.len() - 1.., &last.to_string());
    let wrong = [
        (LinkKind::Upload, link.expose().to_owned()),
        (LinkKind::Media, token.expose().to_owned()),
        (LinkKind::Media, forged),
        (LinkKind::Media, String::new()),
        (LinkKind::Media, "a.b.c".to_owned()),
        (LinkKind::Media, "x".repeat(1 << 20)),
    ];
    for (kind, text) in wrong {
        let refused = accounts.one.verify_link::<String>(kind, &text).await;
        assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential, "{kind:?} {}", text.len());
    }
    assert_eq!(accounts.one.authenticate(link.expose()).await, Err(AccessError::InvalidCredential));
}

pub async fn a_link_ends_within_a_second_with_its_user(accounts: &mut TestAccounts) {
    let [disabled, deleted, signed_out] = ["ann", "bob", "cat"];
    let mut links = Vec::new();
    for name in [disabled, deleted, signed_out] {
        accounts.register(name).await;
        links.push(link_of(accounts, name).await);
    }
    let id = async |name: &str| accounts.one.user_named(name).await.unwrap().id;
    let [ann, bob, cat] = [id(disabled).await, id(deleted).await, id(signed_out).await];
    let actor = Actor::default();
    let disable = AccessChange { disabled: Some(true), ..AccessChange::default() };
    accounts.one.change_access(ann, &disable, &actor).await.unwrap();
    accounts.one.delete_user(bob, &actor).await.unwrap();
    accounts.one.sign_out_everywhere(cat, &actor).await.unwrap();
    let started = tokio::time::Instant::now();
    for link in &links {
        for instance in [&accounts.one, &accounts.other] {
            let refused = async || {
                let verified = instance.verify_link::<String>(LinkKind::Media, link.expose()).await;
                verified.is_err_and(|error| error == AccessError::InvalidCredential)
            };
            eventually("the link is refused", refused).await;
        }
    }
    assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    let refused = accounts.one.sign_link(LinkKind::Media, ann, &GRANT).await;
    assert_eq!(refused.unwrap_err(), AccountError::Disabled);
}
