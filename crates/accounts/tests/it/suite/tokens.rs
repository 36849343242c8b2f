//! API tokens.

use std::time::Duration;

use accounts::{AccessError, AccountError, Accounts, By, Right};
use contracts::ApiTokenId;
use store::relational::AccessChange;

use crate::site::{Site, eventually};

pub async fn an_api_token_allows_what_it_names_until_it_ends(site: &mut Site) {
    let ann = site.register("ann").await;
    let caller = site.caller("ann").await;
    let rights = [Right::FramesWrite, Right::RulesWrite];
    let ends = site.clock.now() + Duration::from_secs(3600);
    let (record, token) =
        site.one.add_api_token(&caller, "the gate's camera", &rights, Some(ends), &By::default()).await.unwrap();
    assert!(token.expose().starts_with("sl_"));
    let program = site.other.authenticate(token.expose()).await.unwrap();
    assert_eq!((program.user, &program.tenant, &program.rights), (Some(ann.id), &ann.tenant, &rights.to_vec()));
    assert_eq!((program.session, program.valid_until), (None, Some(ends.into())));
    let listed = site.other.api_tokens(ann.id).await.unwrap();
    assert_eq!(listed, [record]);
    assert!(!format!("{listed:?}{token:?}").contains(&token.expose()[3..]));

    site.clock.advance(Duration::from_secs(3599));
    site.accepted(&token).await;
    site.clock.advance(Duration::from_secs(1));
    site.refused_within_a_second(&token).await;
}

pub async fn an_api_token_that_was_taken_back_is_refused_everywhere_within_a_second(site: &mut Site) {
    let ann = site.register("ann").await;
    let (caller, by, rights) = (site.caller("ann").await, By::default(), [Right::FramesWrite]);
    let (first, token) = site.one.add_api_token(&caller, "first", &rights, None, &by).await.unwrap();
    let (_, second) = site.one.add_api_token(&caller, "second", &rights, None, &by).await.unwrap();
    site.accepted(&token).await;
    let bob = site.register("bob").await;
    for (user, id) in [(bob.id, first.id), (ann.id, ApiTokenId::now())] {
        let refused = site.one.delete_api_token(user, id, &by).await;
        assert_eq!(refused.unwrap_err(), AccountError::NotFound("API token"));
    }
    site.accepted(&token).await;

    site.one.delete_api_token(ann.id, first.id, &by).await.unwrap();
    site.refused_within_a_second(&token).await;

    site.accepted(&second).await;
    site.other.revoke(&second, &crate::site::home()).await.unwrap();
    site.refused_within_a_second(&second).await;
    assert!(site.one.api_tokens(ann.id).await.unwrap().is_empty());
}

pub async fn nobody_passes_on_more_than_it_may_itself(site: &mut Site) {
    site.register("ann").await;
    let (caller, by) = (site.caller("ann").await, By::default());
    let admin = site.one.add_api_token(&caller, "a", &[Right::Admin], None, &by).await;
    assert_eq!(admin.unwrap_err(), AccountError::ScopeNotAllowed(Right::Admin));
    let rights = [Right::FramesWrite];
    let (_, token) = site.one.add_api_token(&caller, "narrow", &rights, None, &by).await.unwrap();
    let narrow = site.one.authenticate(token.expose()).await.unwrap();
    let wider = site.one.add_api_token(&narrow, "wide", &[Right::FacesRead], None, &by).await;
    assert_eq!(wider.unwrap_err(), AccountError::ScopeNotAllowed(Right::FacesRead));
    let past = Some(site.clock.now());
    let long = "x".repeat(101);
    for (field, name, rights, ends) in [
        ("name", "", &rights[..], None),
        ("name", "a\0b", &rights[..], None),
        ("name", long.as_str(), &rights[..], None),
        ("scopes", "a", &[][..], None),
        ("expires_at", "a", &rights[..], past),
    ] {
        let refused = site.one.add_api_token(&caller, name, rights, ends, &by).await.unwrap_err();
        assert!(matches!(refused, AccountError::Invalid { field: named, .. } if named == field), "{refused:?}");
    }
}

pub async fn the_last_use_is_written_down_in_time(site: &mut Site) {
    let ann = site.register("ann").await;
    let (caller, rights) = (site.caller("ann").await, [Right::FramesWrite]);
    let (_, token) = site.one.add_api_token(&caller, "gate", &rights, None, &By::default()).await.unwrap();
    assert_eq!(site.one.api_tokens(ann.id).await.unwrap()[0].last_used_at, None);
    let before = site.clock.now();
    for _ in 0..100 {
        site.other.authenticate(token.expose()).await.unwrap();
    }
    // What was used is written down at the latest when the instance stops.
    site.stop().await;
    let used = site.one.api_tokens(ann.id).await.unwrap()[0].last_used_at;
    assert!(used.is_some_and(|used| used >= before), "{used:?}");
}

pub async fn garbage_is_refused_and_never_an_error(site: &mut Site) {
    let long = "x".repeat(100_000);
    let dots = ".".repeat(10_000);
    for token in ["", " ", "sl_", "a.b", "...", "\0", "sl_\u{1F600}", long.as_str(), dots.as_str()] {
        let refused = site.one.authenticate(token).await;
        assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential, "{token:?}");
    }
    eventually("the instances work", async || site.other.check().await.is_ok()).await;
}

pub async fn who_was_signed_out_meanwhile_makes_no_api_token(site: &mut Site) {
    let ann = site.register("ann").await;
    let (caller, by) = (site.caller("ann").await, By::default());
    site.other.sign_out_everywhere(ann.id, &by).await.unwrap();
    let made = site.one.add_api_token(&caller, "gate", &[Right::FramesWrite], None, &by).await;
    assert_eq!(made.unwrap_err(), AccountError::SignedOut);
    let caller = site.caller("ann").await;
    let disabled = AccessChange { disabled: Some(true), ..AccessChange::default() };
    site.other.change_access(ann.id, &disabled, &by).await.unwrap();
    let made = site.one.add_api_token(&caller, "gate", &[Right::FramesWrite], None, &by).await;
    assert_eq!(made.unwrap_err(), AccountError::SignedOut);
    assert!(site.one.api_tokens(ann.id).await.unwrap().is_empty());
}
