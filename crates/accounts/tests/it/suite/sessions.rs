//! Sessions and their tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use accounts::{
    AccessError, AccountError, Accounts, AccountsService, Actor, IssuedTokens, LinkKind, Scope, SecretText, Settings,
};
use contracts::SessionId;
use futures::future::join_all;
use sha2::{Digest, Sha256};
use store::relational::{AccessChange, NewSession, TokenHash};
use tempfile::TempDir;
use uuid::Uuid;

use testing::eventually;

use crate::test_accounts::{PASSWORD, SECOND, TestAccounts, home_origin, origin_from, settings, sign_in};

pub async fn a_session_is_renewed_and_listed_and_ended(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let (tokens, elsewhere) = (accounts.sign_in("ann").await, accounts.sign_in("ann").await);
    let next = accounts.other.refresh(&tokens.refresh_token, &origin_from("198.51.100.7")).await.unwrap();
    assert_eq!((next.session, next.user.id, &next.scopes), (tokens.session, ann.id, &tokens.scopes));
    assert_ne!(next.access_token, tokens.access_token);
    accounts.assert_accepted(&next.access_token).await;
    accounts.assert_accepted(&tokens.access_token).await;

    let listed = accounts.one.sessions(ann.id).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1].id, tokens.session);
    assert_eq!((listed[1].address.as_deref(), listed[1].client.as_deref()), (Some("192.0.2.1"), Some("curl/8.0")));

    let bob = accounts.register("bob").await;
    for (user, session) in [(bob.id, tokens.session), (ann.id, SessionId::now())] {
        let refused = accounts.one.end_session(user, session, &Actor::default()).await;
        assert_eq!(refused.unwrap_err(), AccountError::NotFound("session"), "a user ends only its own sessions");
    }
    accounts.other.end_session(ann.id, tokens.session, &Actor::default()).await.unwrap();
    accounts.assert_refused_within_a_second(&next.access_token).await;
    accounts.assert_refused_within_a_second(&tokens.access_token).await;
    let refused = accounts.one.refresh(&next.refresh_token, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    accounts.assert_accepted(&elsewhere.access_token).await;
    assert_eq!(accounts.one.sessions(ann.id).await.unwrap().len(), 1);
}

pub async fn a_reused_refresh_token_ends_the_session_after_the_grace(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let tokens = accounts.sign_in("ann").await;
    let next = accounts.one.refresh(&tokens.refresh_token, &home_origin()).await.unwrap();
    let spent = accounts.other.refresh(&tokens.refresh_token, &home_origin()).await;
    assert_eq!(spent.unwrap_err(), AccountError::InvalidGrant);
    let next = accounts.other.refresh(&next.refresh_token, &home_origin()).await.unwrap();
    accounts.assert_accepted(&next.access_token).await;

    accounts.clock.advance(Duration::from_secs(15));
    let reused = accounts.one.refresh(&tokens.refresh_token, &home_origin()).await;
    assert_eq!(reused.unwrap_err(), AccountError::InvalidGrant);

    accounts.assert_refused_within_a_second(&next.access_token).await;
    let refused = accounts.other.refresh(&next.refresh_token, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    for garbage in ["", "slr_", "slr_\0", &"x".repeat(5000)] {
        let refused = accounts.one.refresh(&SecretText::new(garbage), &home_origin()).await;
        assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant, "{garbage:?}");
    }
}

pub async fn of_fifty_concurrent_renewals_one_succeeds(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let tokens = accounts.sign_in("ann").await;
    let (token, here) = (&tokens.refresh_token, &home_origin());
    let attempts = (0..50).map(|n| if n % 2 == 0 { &accounts.one } else { &accounts.other });
    let outcomes = join_all(attempts.map(|accounts| accounts.refresh(token, here))).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.into_iter().all(|refused| refused.unwrap_err() == AccountError::InvalidGrant));
    let winner = won.into_iter().next().unwrap().unwrap();
    accounts.assert_accepted(&winner.access_token).await;
    accounts.one.refresh(&winner.refresh_token, here).await.unwrap();
}

pub async fn a_revoked_token_is_refused_everywhere_within_a_second(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let (first, second) = (accounts.sign_in("ann").await, accounts.sign_in("ann").await);
    accounts.assert_accepted(&first.access_token).await;

    accounts.one.revoke(&first.access_token, &home_origin()).await.unwrap();
    accounts.assert_refused_within_a_second(&first.access_token).await;
    let renewed = accounts.other.refresh(&first.refresh_token, &home_origin()).await.unwrap();
    accounts.assert_accepted(&renewed.access_token).await;

    accounts.one.revoke(&renewed.refresh_token, &home_origin()).await.unwrap();
    accounts.assert_refused_within_a_second(&renewed.access_token).await;
    accounts.assert_accepted(&second.access_token).await;
    let spent = accounts.sign_in("ann").await;
    let thief = accounts.other.refresh(&spent.refresh_token, &origin_from("198.51.100.7")).await.unwrap();
    accounts.one.revoke(&spent.refresh_token, &home_origin()).await.unwrap();
    accounts.assert_refused_within_a_second(&thief.access_token).await;
    let refused = accounts.other.refresh(&thief.refresh_token, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    for none in ["", "x", "a.b.c", first.access_token.expose(), renewed.refresh_token.expose()] {
        accounts.one.revoke(&SecretText::new(none), &home_origin()).await.unwrap();
    }
}

pub async fn concurrent_sign_outs_take_effect_within_a_second(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    accounts.register("bob").await;
    let (one, bob) = (&accounts.one, accounts.sign_in("bob").await);
    for _ in 0..5 {
        let mut issued = Vec::new();
        for _ in 0..20 {
            issued.push(one.sign_in_federated(&ann, &home_origin()).await.unwrap());
        }
        let done = AtomicBool::new(false);
        let sign_out = async |tokens: &IssuedTokens| {
            one.revoke(&tokens.refresh_token, &home_origin()).await.unwrap();
            let refused = one.authenticate(tokens.access_token.expose()).await;
            assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential, "this instance refuses it at once");
        };
        let sign_outs = async {
            join_all(issued.iter().map(sign_out)).await;
            done.store(true, Ordering::SeqCst);
        };
        let others = async {
            while !done.load(Ordering::SeqCst) {
                one.authenticate(bob.access_token.expose()).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(sign_outs, others);
    }
}

pub async fn signing_out_everywhere_spares_later_sign_ins_and_api_tokens(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let before = [accounts.sign_in("ann").await, accounts.sign_in("ann").await];
    let caller = accounts.one.authenticate(before[0].access_token.expose()).await.unwrap();
    let scopes = [Scope::FramesWrite];
    let (_, api_token) = accounts.one.add_api_token(&caller, "gate", &scopes, None, &Actor::default()).await.unwrap();

    accounts.one.sign_out_everywhere(ann.id, &Actor::default()).await.unwrap();
    // Within the same second, on the other instance, which may not have read the revocation yet.
    let after = sign_in(&accounts.other, "ann", PASSWORD).await.unwrap();

    for tokens in &before {
        accounts.assert_refused_within_a_second(&tokens.access_token).await;
        let refused = accounts.other.refresh(&tokens.refresh_token, &home_origin()).await;
        assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    }
    accounts.assert_accepted(&after.access_token).await;
    accounts.assert_accepted(&api_token).await;
}

pub async fn a_sign_in_after_a_reset_is_valid_on_every_instance(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    for _ in 0..20 {
        accounts.one.set_password(ann.id, &SecretText::new(PASSWORD), &Actor::default()).await.unwrap();
        let tokens = accounts.other.sign_in_federated(&ann, &home_origin()).await.unwrap();
        accounts.assert_accepted(&tokens.access_token).await;
    }
}

pub async fn an_access_token_expires(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let tokens = accounts.sign_in("ann").await;
    assert_eq!(tokens.expires_in, Duration::from_secs(900));
    accounts.clock.advance(Duration::from_secs(890));
    accounts.assert_accepted(&tokens.access_token).await;
    accounts.clock.advance(Duration::from_secs(10));
    accounts.assert_refused_within_a_second(&tokens.access_token).await;
    accounts.clock.advance(Settings::default().session_life - Duration::from_secs(1000));
    let renewed = accounts.other.refresh(&tokens.refresh_token, &home_origin()).await.unwrap();
    accounts.clock.advance(Settings::default().session_life);
    let refused = accounts.other.refresh(&renewed.refresh_token, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
}

pub async fn introspection_describes_every_kind_of_valid_token(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let tokens = accounts.sign_in("ann").await;
    let caller = accounts.one.authenticate(tokens.access_token.expose()).await.unwrap();
    let scopes = [Scope::FramesWrite];
    let (record, api_token) =
        accounts.one.add_api_token(&caller, "gate", &scopes, None, &Actor::default()).await.unwrap();

    for (token, makes_requests) in [(&tokens.access_token, true), (&tokens.refresh_token, false), (&api_token, true)] {
        let state = accounts.other.token_state(token).await.unwrap().unwrap();
        assert_eq!((state.user, state.name.as_deref(), &state.tenant), (ann.id, Some("ann"), &ann.tenant));
        assert_eq!(state.makes_requests, makes_requests);
        assert!(state.issued_at.is_some());
    }
    let state = accounts.one.token_state(&api_token).await.unwrap().unwrap();
    assert_eq!((state.id, state.scopes, state.expires_at), (Some(record.id.uuid()), scopes.to_vec(), None));
    let refused = accounts.one.authenticate(tokens.refresh_token.expose()).await;
    assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential, "a refresh token does not authenticate requests");

    accounts.one.end_session(ann.id, tokens.session, &Actor::default()).await.unwrap();
    for none in [
        &tokens.access_token,
        &tokens.refresh_token,
        &SecretText::new(""),
        &SecretText::new("a.b.c"),
        &SecretText::new("slr_"),
    ] {
        assert_eq!(accounts.one.token_state(none).await, Ok(None));
    }
}

pub async fn validation_tells_a_valid_token_from_any_other(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let (tokens, ended) = (accounts.sign_in("ann").await, accounts.sign_in("ann").await);
    assert!(tokens.expires_at > accounts.clock.now() && tokens.refresh_expires_at > tokens.expires_at);
    let valid = accounts.other.validate(tokens.access_token.expose()).await.unwrap().unwrap();
    assert_eq!((valid.user.id, valid.expires_at), (ann.id, Some(tokens.expires_at)));
    let caller = accounts.one.authenticate(tokens.access_token.expose()).await.unwrap();
    let api_token = accounts.api_token(&caller, &[Scope::FramesWrite]).await;
    let valid = accounts.other.validate(api_token.expose()).await.unwrap().unwrap();
    assert_eq!((valid.user.id, valid.expires_at), (ann.id, None));

    accounts.one.end_session(ann.id, ended.session, &Actor::default()).await.unwrap();
    let folder = TempDir::new().unwrap();
    let mut elsewhere = TestAccounts::on(crate::sqlite::stores(&folder).await).await;
    elsewhere.register("ann").await;
    let foreign = elsewhere.sign_in("ann").await;
    elsewhere.stop().await;
    for (kind, token) in [
        ("nothing", ""),
        ("junk", "junk"),
        ("three parts", "a.b.c"),
        ("revoked", ended.access_token.expose()),
        ("a refresh token", tokens.refresh_token.expose()),
        ("the key of another installation", foreign.access_token.expose()),
    ] {
        assert_eq!(accounts.one.validate(token).await, Ok(None), "{kind}");
    }
    let disable = AccessChange { disabled: Some(true), ..AccessChange::default() };
    accounts.one.change_access(ann.id, &disable, &Actor::default()).await.unwrap();
    assert_eq!(accounts.one.validate(api_token.expose()).await, Ok(None), "the user is disabled");
    accounts.register("bob").await;
    let expired = accounts.sign_in("bob").await;
    accounts.clock.advance(expired.expires_in);
    assert_eq!(accounts.one.validate(expired.access_token.expose()).await, Ok(None), "expired");
}

pub async fn revoking_a_refresh_token_twice_is_no_error(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let tokens = accounts.sign_in("ann").await;
    for instance in [&accounts.one, &accounts.other, &accounts.one] {
        assert_eq!(instance.revoke(&tokens.refresh_token, &home_origin()).await, Ok(()));
    }
    for unknown in ["slr_unknown", "", "junk"] {
        assert_eq!(accounts.one.revoke(&SecretText::new(unknown), &home_origin()).await, Ok(()), "{unknown:?}");
    }
    let refused = accounts.other.refresh(&tokens.refresh_token, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    accounts.assert_refused_within_a_second(&tokens.access_token).await;
}

pub async fn a_sign_in_may_narrow_its_scopes_and_never_widen_them(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let (password, requested) = (SecretText::new(PASSWORD), [Scope::AlertsRead, Scope::Admin]);
    let tokens = accounts.one.sign_in("ann", &password, Some(&requested), &home_origin()).await.unwrap();
    assert_eq!(tokens.scopes, [Scope::AlertsRead]);
    let nothing = accounts.one.sign_in("ann", &password, Some(&[Scope::Admin]), &home_origin()).await;
    assert_eq!(nothing.unwrap_err(), AccountError::NothingAllowed);
    let renewed = accounts.other.refresh(&tokens.refresh_token, &home_origin()).await.unwrap();
    for token in [&tokens.access_token, &renewed.access_token] {
        let caller = accounts.one.authenticate(token.expose()).await.unwrap();
        assert_eq!((caller.scopes, caller.full_session), (vec![Scope::AlertsRead], false));
    }
}

pub async fn a_full_session_stays_full_when_users_get_a_new_scope(accounts: &mut TestAccounts) {
    let user = accounts.register("ann").await;
    assert!(accounts.caller("ann").await.full_session);
    // As a sign-in left it when users had one scope.
    let refresh_token = SecretText::new("slr_opened-before");
    let before = NewSession {
        id: SessionId::now(),
        user: user.id,
        scopes: "frames:write".to_owned(),
        narrowed: false,
        client: None,
        address: None,
        token: TokenHash(Sha256::digest(refresh_token.expose()).into()),
        expires_at: accounts.clock.now() + Duration::from_secs(60),
    };
    accounts.store.open_session(&before, None, accounts.clock.now()).await.unwrap().unwrap();
    let renewed = accounts.other.refresh(&refresh_token, &home_origin()).await.unwrap();
    let caller = accounts.one.authenticate(renewed.access_token.expose()).await.unwrap();
    assert_eq!((caller.scopes, caller.full_session), (vec![Scope::FramesWrite], true));
}

pub async fn without_the_database_tokens_are_refused_once_stale(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let token = accounts.sign_in("ann").await.access_token;
    let unavailable = async |accounts: &AccountsService, token: &str| {
        matches!(accounts.authenticate(token).await, Err(AccessError::Unavailable(_)))
    };
    // This instance reads no revocations after its start, as if the database were unreachable.
    let stale = accounts.open(Settings { revocations_stale_after: SECOND, ..settings() }, Vec::new()).await;
    stale.authenticate(token.expose()).await.unwrap();
    eventually("the token is refused", async || unavailable(&stale, token.expose()).await).await;
    assert!(stale.check().await.is_err());
    assert!(unavailable(&stale, &Uuid::new_v4().to_string()).await);
    accounts.assert_accepted(&token).await;
}

pub async fn an_opaque_session_identifies_its_user_until_it_ends(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let password = SecretText::new(PASSWORD);
    let wrong = accounts.one.open_opaque("ann", &SecretText::new("wrong password"), &home_origin()).await;
    assert_eq!(wrong.unwrap_err(), AccountError::WrongPassword);
    let first = accounts.one.open_opaque("ann", &password, &home_origin()).await.unwrap();
    assert!(Uuid::try_parse(first.expose()).is_ok());
    assert_eq!(accounts.other.opaque_user(&first).await.unwrap().id, ann.id);
    for none in ["", "x", "\0", &Uuid::new_v4().to_string()] {
        let refused = accounts.other.opaque_user(&SecretText::new(none)).await;
        assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential, "{none:?}");
    }
    assert!(accounts.one.authenticate(first.expose()).await.is_err(), "it does not authenticate other requests");

    accounts.other.end_opaque(&first).await.unwrap();
    assert_eq!(accounts.one.opaque_user(&first).await.unwrap_err(), AccessError::InvalidCredential);

    let second = accounts.one.open_opaque("ann", &password, &home_origin()).await.unwrap();
    accounts.one.sign_out_everywhere(ann.id, &Actor::default()).await.unwrap();
    eventually("the other instance refuses the session", async || accounts.other.opaque_user(&second).await.is_err())
        .await;
    let third = accounts.one.open_opaque("ann", &password, &home_origin()).await.unwrap();
    // Hours later, after every access token of that time has expired.
    accounts.clock.advance(Duration::from_secs(6 * 3600));
    accounts.one.maintain_once().await.unwrap();
    accounts.register("bob").await;
    accounts
        .one
        .sign_out_everywhere(accounts.one.user_named("bob").await.unwrap().id, &Actor::default())
        .await
        .unwrap();
    assert_eq!(accounts.one.opaque_user(&second).await.unwrap_err(), AccessError::InvalidCredential);
    accounts.other.opaque_user(&third).await.unwrap();
}

pub async fn a_key_rotation_refuses_no_token_on_either_instance(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let settings = Settings::default();
    let keys = |accounts: &AccountsService| accounts.jwks()["keys"].as_array().unwrap().len();
    assert_eq!(accounts.one.jwks(), accounts.other.jwks());
    let mut tokens = accounts.sign_in("ann").await;
    accounts.clock.advance(settings.signing_key_life - settings.signing_key_lead - Duration::from_secs(60));
    tokens = accounts.one.refresh(&tokens.refresh_token, &home_origin()).await.unwrap();
    accounts.clock.advance(Duration::from_secs(60));
    accounts.one.maintain_once().await.unwrap();
    eventually("both instances publish the next key", async || keys(&accounts.one) == 2 && keys(&accounts.other) == 2)
        .await;
    assert_eq!(accounts.one.jwks(), accounts.other.jwks());
    // In each minute before and after the change of keys, both instances accept every token of the last 15 minutes.
    let mut recent = vec![tokens.access_token.clone()];
    for _ in 0..90 {
        accounts.clock.advance(Duration::from_secs(60));
        tokens = accounts.other.refresh(&tokens.refresh_token, &home_origin()).await.unwrap();
        recent.push(tokens.access_token.clone());
        let valid = recent.len().saturating_sub(14);
        for token in &recent[valid..] {
            accounts.assert_accepted(token).await;
        }
    }
    // Until then, the old key may have signed a link that is still valid.
    accounts.clock.advance(LinkKind::Upload.life());
    assert_eq!((keys(&accounts.one), keys(&accounts.other)), (1, 1), "the old key is no longer published");
}
