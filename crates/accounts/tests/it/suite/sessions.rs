//! Sessions and their tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use accounts::{AccessError, AccountError, Accounts, By, Grant, Right, Secret, Settings};
use contracts::SessionId;
use futures::future::join_all;
use uuid::Uuid;

use crate::site::{PASSWORD, Site, eventually, from, home, sign_in};

pub async fn a_session_is_renewed_and_listed_and_ended(site: &mut Site) {
    let ann = site.register("ann").await;
    let (grant, elsewhere) = (site.sign_in("ann").await, site.sign_in("ann").await);
    let next = site.other.refresh(&grant.refresh_token, &from("198.51.100.7")).await.unwrap();
    assert_eq!((next.session, next.user, &next.rights), (grant.session, ann.id, &grant.rights));
    assert_ne!(next.access_token, grant.access_token);
    site.accepted(&next.access_token).await;
    site.accepted(&grant.access_token).await;

    let listed = site.one.sessions(ann.id).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1].id, grant.session);
    assert_eq!((listed[1].address.as_deref(), listed[1].client.as_deref()), (Some("192.0.2.1"), Some("curl/8.0")));

    let bob = site.register("bob").await;
    for (user, session) in [(bob.id, grant.session), (ann.id, SessionId::now())] {
        let refused = site.one.end_session(user, session, &By::default()).await;
        assert_eq!(refused.unwrap_err(), AccountError::NotFound("session"), "nobody ends another's session");
    }
    site.other.end_session(ann.id, grant.session, &By::default()).await.unwrap();
    site.refused_within_a_second(&next.access_token).await;
    site.refused_within_a_second(&grant.access_token).await;
    let refused = site.one.refresh(&next.refresh_token, &home()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    site.accepted(&elsewhere.access_token).await;
    assert_eq!(site.one.sessions(ann.id).await.unwrap().len(), 1);
}

pub async fn a_spent_token_is_refused_at_once_and_kills_the_session_after_the_grace(site: &mut Site) {
    site.register("ann").await;
    let grant = site.sign_in("ann").await;
    let next = site.one.refresh(&grant.refresh_token, &home()).await.unwrap();
    let spent = site.other.refresh(&grant.refresh_token, &home()).await;
    assert_eq!(spent.unwrap_err(), AccountError::InvalidGrant);
    let next = site.other.refresh(&next.refresh_token, &home()).await.unwrap();
    site.accepted(&next.access_token).await;

    site.clock.advance(Duration::from_secs(15));
    let reused = site.one.refresh(&grant.refresh_token, &home()).await;
    assert_eq!(reused.unwrap_err(), AccountError::InvalidGrant);

    site.refused_within_a_second(&next.access_token).await;
    let refused = site.other.refresh(&next.refresh_token, &home()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    for garbage in ["", "slr_", "slr_\0", &"x".repeat(5000)] {
        let refused = site.one.refresh(&Secret::new(garbage), &home()).await;
        assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant, "{garbage:?}");
    }
}

pub async fn of_fifty_at_once_one_renews_and_the_session_lives_on(site: &mut Site) {
    site.register("ann").await;
    let grant = site.sign_in("ann").await;
    let (token, here) = (&grant.refresh_token, &home());
    let attempts = (0..50).map(|n| if n % 2 == 0 { &site.one } else { &site.other });
    let outcomes = join_all(attempts.map(|accounts| accounts.refresh(token, here))).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    assert!(lost.into_iter().all(|refused| refused.unwrap_err() == AccountError::InvalidGrant));
    let winner = won.into_iter().next().unwrap().unwrap();
    site.accepted(&winner.access_token).await;
    site.one.refresh(&winner.refresh_token, here).await.unwrap();
}

pub async fn a_revoked_token_is_refused_everywhere_within_a_second(site: &mut Site) {
    site.register("ann").await;
    let (first, second) = (site.sign_in("ann").await, site.sign_in("ann").await);
    site.accepted(&first.access_token).await;

    site.one.revoke(&first.access_token, &home()).await.unwrap();
    site.refused_within_a_second(&first.access_token).await;
    let renewed = site.other.refresh(&first.refresh_token, &home()).await.unwrap();
    site.accepted(&renewed.access_token).await;

    site.one.revoke(&renewed.refresh_token, &home()).await.unwrap();
    site.refused_within_a_second(&renewed.access_token).await;
    site.accepted(&second.access_token).await;
    let spent = site.sign_in("ann").await;
    let thief = site.other.refresh(&spent.refresh_token, &from("198.51.100.7")).await.unwrap();
    site.one.revoke(&spent.refresh_token, &home()).await.unwrap();
    site.refused_within_a_second(&thief.access_token).await;
    let refused = site.other.refresh(&thief.refresh_token, &home()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    for none in ["", "x", "a.b.c", first.access_token.expose(), renewed.refresh_token.expose()] {
        site.one.revoke(&Secret::new(none), &home()).await.unwrap();
    }
}

pub async fn many_who_sign_out_at_once_are_out_at_once_and_disturb_nobody(site: &mut Site) {
    let ann = site.register("ann").await;
    site.register("bob").await;
    let (one, bob) = (&site.one, site.sign_in("bob").await);
    for _ in 0..5 {
        let mut grants = Vec::new();
        for _ in 0..20 {
            grants.push(one.sign_in_vouched(&ann, &home()).await.unwrap());
        }
        let done = AtomicBool::new(false);
        let sign_out = async |grant: &Grant| {
            one.revoke(&grant.refresh_token, &home()).await.unwrap();
            let refused = one.authenticate(grant.access_token.expose()).await;
            assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential, "by this instance at once");
        };
        let sign_outs = async {
            join_all(grants.iter().map(sign_out)).await;
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

pub async fn signing_out_everywhere_spares_later_sign_ins_and_api_tokens(site: &mut Site) {
    let ann = site.register("ann").await;
    let before = [site.sign_in("ann").await, site.sign_in("ann").await];
    let caller = site.one.authenticate(before[0].access_token.expose()).await.unwrap();
    let rights = [Right::FramesWrite];
    let (_, api_token) = site.one.add_api_token(&caller, "gate", &rights, None, &By::default()).await.unwrap();

    site.one.sign_out_everywhere(ann.id, &By::default()).await.unwrap();
    // In the same second, by the other instance, which may not have heard of it yet.
    let after = sign_in(&site.other, "ann", PASSWORD).await.unwrap();

    for grant in &before {
        site.refused_within_a_second(&grant.access_token).await;
        let refused = site.other.refresh(&grant.refresh_token, &home()).await;
        assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    }
    site.accepted(&after.access_token).await;
    site.accepted(&api_token).await;
}

pub async fn a_sign_in_right_after_a_reset_is_good_on_every_instance(site: &mut Site) {
    let ann = site.register("ann").await;
    for _ in 0..20 {
        site.one.set_password(ann.id, &Secret::new(PASSWORD), &By::default()).await.unwrap();
        let grant = site.other.sign_in_vouched(&ann, &home()).await.unwrap();
        site.accepted(&grant.access_token).await;
    }
}

pub async fn an_access_token_ends_after_its_time(site: &mut Site) {
    site.register("ann").await;
    let grant = site.sign_in("ann").await;
    assert_eq!(grant.expires_in, Duration::from_secs(900));
    site.clock.advance(Duration::from_secs(890));
    site.accepted(&grant.access_token).await;
    site.clock.advance(Duration::from_secs(10));
    site.refused_within_a_second(&grant.access_token).await;
    site.clock.advance(Settings::default().session_life - Duration::from_secs(1000));
    let renewed = site.other.refresh(&grant.refresh_token, &home()).await.unwrap();
    site.clock.advance(Settings::default().session_life);
    let refused = site.other.refresh(&renewed.refresh_token, &home()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
}

pub async fn introspection_tells_every_kind_of_token_and_nothing_of_others(site: &mut Site) {
    let ann = site.register("ann").await;
    let grant = site.sign_in("ann").await;
    let caller = site.one.authenticate(grant.access_token.expose()).await.unwrap();
    let rights = [Right::FramesWrite];
    let (record, api_token) = site.one.add_api_token(&caller, "gate", &rights, None, &By::default()).await.unwrap();

    for (token, makes_requests) in [(&grant.access_token, true), (&grant.refresh_token, false), (&api_token, true)] {
        let state = site.other.token_state(token).await.unwrap().unwrap();
        assert_eq!((state.user, state.name.as_deref(), &state.tenant), (ann.id, Some("ann"), &ann.tenant));
        assert_eq!(state.makes_requests, makes_requests);
        assert!(state.issued_at.is_some());
    }
    let state = site.one.token_state(&api_token).await.unwrap().unwrap();
    assert_eq!((state.id, state.rights, state.expires_at), (Some(record.id.uuid()), rights.to_vec(), None));
    let refused = site.one.authenticate(grant.refresh_token.expose()).await;
    assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential, "a refresh token makes no requests");

    site.one.end_session(ann.id, grant.session, &By::default()).await.unwrap();
    for none in
        [&grant.access_token, &grant.refresh_token, &Secret::new(""), &Secret::new("a.b.c"), &Secret::new("slr_")]
    {
        assert_eq!(site.one.token_state(none).await, Ok(None));
    }
}

pub async fn a_sign_in_may_ask_for_less_and_never_gets_more(site: &mut Site) {
    site.register("ann").await;
    let (password, asked) = (Secret::new(PASSWORD), [Right::AlertsRead, Right::Admin]);
    let grant = site.one.sign_in("ann", &password, Some(&asked), &home()).await.unwrap();
    assert_eq!(grant.rights, [Right::AlertsRead]);
    let nothing = site.one.sign_in("ann", &password, Some(&[Right::Admin]), &home()).await;
    assert_eq!(nothing.unwrap_err(), AccountError::NothingAllowed);
    let renewed = site.other.refresh(&grant.refresh_token, &home()).await.unwrap();
    for token in [&grant.access_token, &renewed.access_token] {
        assert_eq!(site.one.authenticate(token.expose()).await.unwrap().rights, [Right::AlertsRead]);
    }
}

pub async fn while_the_database_is_away_tokens_hold_for_a_while_and_then_nothing_does(site: &mut Site) {
    site.register("ann").await;
    let grant = site.sign_in("ann").await;
    site.accepted(&grant.access_token).await;
    // Nobody asks any more what was taken back, as when the database is out of reach.
    site.stop().await;
    site.accepted(&grant.access_token).await;
    tokio::time::sleep(crate::site::settings().closed_after).await;
    for accounts in [&site.one, &site.other] {
        let refused = accounts.authenticate(grant.access_token.expose()).await;
        assert!(matches!(refused, Err(AccessError::Unavailable(_))), "{refused:?}");
        assert!(accounts.check().await.is_err());
        let none = accounts.authenticate(&Uuid::new_v4().to_string()).await;
        assert!(matches!(none, Err(AccessError::Unavailable(_))), "{none:?}");
    }
}

pub async fn an_opaque_session_stands_for_its_user_until_it_ends(site: &mut Site) {
    let ann = site.register("ann").await;
    let password = Secret::new(PASSWORD);
    let wrong = site.one.open_opaque("ann", &Secret::new("wrong password"), &home()).await;
    assert_eq!(wrong.unwrap_err(), AccountError::WrongPassword);
    let first = site.one.open_opaque("ann", &password, &home()).await.unwrap();
    assert!(Uuid::try_parse(first.expose()).is_ok());
    assert_eq!(site.other.opaque_user(&first).await.unwrap().id, ann.id);
    for none in ["", "x", "\0", &Uuid::new_v4().to_string()] {
        let refused = site.other.opaque_user(&Secret::new(none)).await;
        assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential, "{none:?}");
    }
    assert!(site.one.authenticate(first.expose()).await.is_err(), "it makes no other requests");

    site.other.end_opaque(&first).await.unwrap();
    assert_eq!(site.one.opaque_user(&first).await.unwrap_err(), AccessError::InvalidCredential);

    let second = site.one.open_opaque("ann", &password, &home()).await.unwrap();
    site.one.sign_out_everywhere(ann.id, &By::default()).await.unwrap();
    eventually("the other instance refuses it", async || site.other.opaque_user(&second).await.is_err()).await;
    let third = site.one.open_opaque("ann", &password, &home()).await.unwrap();
    // Hours later, when no access token of then is valid any more.
    site.clock.advance(Duration::from_secs(6 * 3600));
    site.one.tidy_now().await.unwrap();
    site.register("bob").await;
    site.one.sign_out_everywhere(site.one.user_named("bob").await.unwrap().id, &By::default()).await.unwrap();
    assert_eq!(site.one.opaque_user(&second).await.unwrap_err(), AccessError::InvalidCredential);
    site.other.opaque_user(&third).await.unwrap();
}

pub async fn keys_change_on_both_instances_without_a_refused_token(site: &mut Site) {
    site.register("ann").await;
    let settings = Settings::default();
    let keys = |accounts: &accounts::StoredAccounts| accounts.jwks()["keys"].as_array().unwrap().len();
    assert_eq!(site.one.jwks(), site.other.jwks());
    let mut grant = site.sign_in("ann").await;
    site.clock.advance(settings.signing_key_life - settings.signing_key_lead - Duration::from_secs(60));
    grant = site.one.refresh(&grant.refresh_token, &home()).await.unwrap();
    site.clock.advance(Duration::from_secs(60));
    site.one.tidy_now().await.unwrap();
    eventually("both instances publish the next key", async || keys(&site.one) == 2 && keys(&site.other) == 2).await;
    assert_eq!(site.one.jwks(), site.other.jwks());
    // Up to the change and past it, minute by minute: every token of the last quarter of an hour is good everywhere.
    let mut recent = vec![grant.access_token.clone()];
    for _ in 0..90 {
        site.clock.advance(Duration::from_secs(60));
        grant = site.other.refresh(&grant.refresh_token, &home()).await.unwrap();
        recent.push(grant.access_token.clone());
        let valid = recent.len().saturating_sub(14);
        for token in &recent[valid..] {
            site.accepted(token).await;
        }
    }
    assert_eq!((keys(&site.one), keys(&site.other)), (1, 1), "the old key is not published any more");
}
