//! API tokens.

use std::time::Duration;

use accounts::{AccessError, AccountError, Accounts, Actor, Scope};
use contracts::ApiTokenId;
use store::relational::AccessChange;

use testing::eventually;

use crate::test_accounts::TestAccounts;

pub async fn an_api_token_allows_its_scopes_until_it_expires(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let caller = accounts.caller("ann").await;
    let scopes = [Scope::FramesWrite, Scope::RulesWrite];
    let ends = accounts.clock.now() + Duration::from_secs(3600);
    let (record, token) =
        accounts.one.add_api_token(&caller, "the gate's camera", &scopes, Some(ends), &Actor::default()).await.unwrap();
    assert!(token.expose().starts_with("sl_"));
    let program = accounts.other.authenticate(token.expose()).await.unwrap();
    assert_eq!((program.user, &program.tenant, &program.scopes), (Some(ann.id), &ann.tenant, &scopes.to_vec()));
    assert_eq!((program.session, program.valid_until), (None, Some(ends.into())));
    let listed = accounts.other.api_tokens(ann.id).await.unwrap();
    assert_eq!(listed, [record]);
    assert!(!format!("{listed:?}{token:?}").contains(&token.expose()[3..]));

    accounts.clock.advance(Duration::from_secs(3599));
    accounts.assert_accepted(&token).await;
    accounts.clock.advance(Duration::from_secs(1));
    accounts.assert_refused_within_a_second(&token).await;
}

pub async fn a_deleted_api_token_is_refused_within_a_second(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let (caller, actor, scopes) = (accounts.caller("ann").await, Actor::default(), [Scope::FramesWrite]);
    let (first, token) = accounts.one.add_api_token(&caller, "first", &scopes, None, &actor).await.unwrap();
    let (_, second) = accounts.one.add_api_token(&caller, "second", &scopes, None, &actor).await.unwrap();
    accounts.assert_accepted(&token).await;
    let bob = accounts.register("bob").await;
    for (user, id) in [(bob.id, first.id), (ann.id, ApiTokenId::now())] {
        let refused = accounts.one.delete_api_token(user, id, &actor).await;
        assert_eq!(refused.unwrap_err(), AccountError::NotFound("API token"));
    }
    accounts.assert_accepted(&token).await;

    accounts.one.delete_api_token(ann.id, first.id, &actor).await.unwrap();
    accounts.assert_refused_within_a_second(&token).await;

    accounts.assert_accepted(&second).await;
    accounts.other.revoke(&second, &crate::test_accounts::home_origin()).await.unwrap();
    accounts.assert_refused_within_a_second(&second).await;
    assert!(accounts.one.api_tokens(ann.id).await.unwrap().is_empty());
}

pub async fn an_api_token_has_no_more_scopes_than_its_maker(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let (caller, actor) = (accounts.caller("ann").await, Actor::default());
    let admin = accounts.one.add_api_token(&caller, "a", &[Scope::Admin], None, &actor).await;
    assert_eq!(admin.unwrap_err(), AccountError::ScopeNotAllowed(Scope::Admin));
    let scopes = [Scope::FramesWrite];
    let (_, token) = accounts.one.add_api_token(&caller, "narrow", &scopes, None, &actor).await.unwrap();
    let narrow = accounts.one.authenticate(token.expose()).await.unwrap();
    let wider = accounts.one.add_api_token(&narrow, "wide", &[Scope::FacesRead], None, &actor).await;
    assert_eq!(wider.unwrap_err(), AccountError::ScopeNotAllowed(Scope::FacesRead));
    let past = Some(accounts.clock.now());
    let long = "x".repeat(101);
    for (field, name, scopes, ends) in [
        ("name", "", &scopes[..], None),
        ("name", "a\0b", &scopes[..], None),
        ("name", long.as_str(), &scopes[..], None),
        ("scopes", "a", &[][..], None),
        ("expires_at", "a", &scopes[..], past),
    ] {
        let refused = accounts.one.add_api_token(&caller, name, scopes, ends, &actor).await.unwrap_err();
        assert!(matches!(refused, AccountError::Invalid { field: named, .. } if named == field), "{refused:?}");
    }
}

pub async fn the_last_use_of_an_api_token_is_recorded(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let (caller, scopes) = (accounts.caller("ann").await, [Scope::FramesWrite]);
    let (_, token) = accounts.one.add_api_token(&caller, "gate", &scopes, None, &Actor::default()).await.unwrap();
    assert_eq!(accounts.one.api_tokens(ann.id).await.unwrap()[0].last_used_at, None);
    let before = accounts.clock.now();
    for _ in 0..100 {
        accounts.other.authenticate(token.expose()).await.unwrap();
    }
    // The last use is written at the latest when the instance stops.
    accounts.stop().await;
    let used = accounts.one.api_tokens(ann.id).await.unwrap()[0].last_used_at;
    assert!(used.is_some_and(|used| used >= before), "{used:?}");
}

pub async fn malformed_tokens_are_refused_without_an_error(accounts: &mut TestAccounts) {
    let long = "x".repeat(100_000);
    let dots = ".".repeat(10_000);
    for token in ["", " ", "sl_", "a.b", "...", "\0", "sl_\u{1F600}", long.as_str(), dots.as_str()] {
        let refused = accounts.one.authenticate(token).await;
        assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential, "{token:?}");
    }
    eventually("the other instance reads revocations", async || accounts.other.check().await.is_ok()).await;
}

pub async fn an_ended_session_creates_no_api_token(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let (caller, actor) = (accounts.caller("ann").await, Actor::default());
    accounts.other.sign_out_everywhere(ann.id, &actor).await.unwrap();
    let made = accounts.one.add_api_token(&caller, "gate", &[Scope::FramesWrite], None, &actor).await;
    assert_eq!(made.unwrap_err(), AccountError::SignedOut);
    let caller = accounts.caller("ann").await;
    let disabled = AccessChange { disabled: Some(true), ..AccessChange::default() };
    accounts.other.change_access(ann.id, &disabled, &actor).await.unwrap();
    let made = accounts.one.add_api_token(&caller, "gate", &[Scope::FramesWrite], None, &actor).await;
    assert_eq!(made.unwrap_err(), AccountError::SignedOut);
    assert!(accounts.one.api_tokens(ann.id).await.unwrap().is_empty());
}
