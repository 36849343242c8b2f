//! Sessions, passwords, API tokens, signing keys and revocations.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use contracts::{ApiTokenId, SessionId, UserId};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use store::Relational;
use store::relational::{
    AccessChange, ApiTokenWriteOutcome, KeyRotation, MAX_API_TOKENS, NewApiToken, PasswordHash, ProfileChange,
    RevocationKind, RotationOutcome, SigningKeyRecord, TokenHash,
};
use uuid::Uuid;

use crate::relational::{TwoStores, add, later, now, password, session, token};

const GRACE: SignedDuration = SignedDuration::from_secs(10);

async fn rotate(store: &Relational, spent: &TokenHash, next: &TokenHash, at: Timestamp) -> RotationOutcome {
    store.rotate(spent, next, at, GRACE, later(), later()).await.unwrap()
}

fn is_rotated(rotation: &RotationOutcome) -> bool {
    matches!(rotation, RotationOutcome::Rotated { .. })
}

/// Opens a session; its id and refresh token.
async fn signed_in(store: &Relational, user: UserId) -> (SessionId, TokenHash) {
    let new = session(user);
    store.open_session(&new, Some(&password()), now()).await.unwrap().expect("the user may sign in");
    (new.id, new.token)
}

pub async fn of_fifty_concurrent_renewals_one_spends_the_token(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (id, first) = signed_in(&two.one, user).await;
    let attempts = (0..50).map(|n| async move {
        let store = if n % 2 == 0 { &two.one } else { &two.other };
        let next = token();
        (rotate(store, &first, &next, now()).await, next)
    });
    let outcomes = join_all(attempts).await;
    let won: Vec<_> = outcomes.iter().filter(|(rotation, _)| is_rotated(rotation)).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(outcomes.iter().filter(|(rotation, _)| *rotation == RotationOutcome::Spent).count(), 49);

    let next = token();
    let RotationOutcome::Rotated { session, user: owner, .. } = rotate(&two.other, &won[0].1, &next, now()).await
    else {
        panic!("the new token is valid")
    };
    assert_eq!((session.id, session.user, owner.id), (id, user, user));
    let found = two.one.session_by_token(&next, now()).await.unwrap().unwrap();
    assert_eq!((found.id, found.narrowed, session.narrowed), (id, Some(true), Some(true)));
    assert!(two.one.session_by_token(&first, now()).await.unwrap().is_none());
}

pub async fn a_reused_token_ends_the_session_after_the_grace(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (id, first) = signed_in(&two.one, user).await;
    let (second, third, at) = (token(), token(), now());
    assert!(is_rotated(&rotate(&two.one, &first, &second, at).await));
    assert_eq!(rotate(&two.other, &first, &token(), at + GRACE).await, RotationOutcome::Spent);
    assert!(is_rotated(&rotate(&two.one, &second, &third, at + GRACE).await));

    let reused = rotate(&two.other, &first, &token(), at + GRACE + SignedDuration::from_secs(5)).await;

    assert_eq!(reused, RotationOutcome::Reused { session: id, user });
    assert_eq!(rotate(&two.one, &third, &token(), now()).await, RotationOutcome::Unknown);
    assert!(two.one.sessions(user, now()).await.unwrap().is_empty());
    let last = *two.one.revocations_after(0).await.unwrap().last().unwrap();
    assert_eq!((last.kind, last.subject), (RevocationKind::Session, id.uuid()));
}

pub async fn an_ended_session_is_not_renewed(two: &TwoStores) {
    let (ann, bob) = (add(&two.one, "ann").await, add(&two.one, "bob").await);
    let (id, refresh) = signed_in(&two.one, ann).await;
    assert!(!two.other.end_session(bob, id, now(), later()).await.unwrap(), "it is another user's");
    assert!(two.other.end_session(ann, id, now(), later()).await.unwrap());
    assert!(!two.other.end_session(ann, id, now(), later()).await.unwrap());
    assert_eq!(rotate(&two.one, &refresh, &token(), now()).await, RotationOutcome::Unknown);

    let sessions = [signed_in(&two.one, ann).await, signed_in(&two.one, ann).await];
    let (_, bobs) = signed_in(&two.one, bob).await;
    assert_eq!(two.other.sessions(ann, now()).await.unwrap().len(), 2);
    assert!(two.other.end_all_sessions(ann, now(), later()).await.unwrap());
    for (_, refresh) in sessions {
        assert_eq!(rotate(&two.one, &refresh, &token(), now()).await, RotationOutcome::Unknown);
    }
    assert!(is_rotated(&rotate(&two.one, &bobs, &token(), now()).await));
    let over = later() + SignedDuration::from_secs(1);
    let (_, late) = signed_in(&two.one, ann).await;
    assert_eq!(rotate(&two.one, &late, &token(), over).await, RotationOutcome::Unknown);
}

pub async fn a_disabled_user_neither_signs_in_nor_renews(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (_, refresh) = signed_in(&two.one, user).await;
    let set = |disabled| AccessChange { disabled: Some(disabled), ..Default::default() };
    assert!(two.other.change_access(user, &set(true), now(), later()).await.unwrap());
    assert_eq!(two.one.open_session(&session(user), Some(&password()), now()).await.unwrap(), None);
    assert_eq!(rotate(&two.one, &refresh, &token(), now()).await, RotationOutcome::Unknown);
    let last = *two.one.revocations_after(0).await.unwrap().last().unwrap();
    assert_eq!((last.kind, last.subject), (RevocationKind::User, user.uuid()));

    assert!(two.other.change_access(user, &set(false), now(), later()).await.unwrap());
    signed_in(&two.one, user).await;
    assert!(!two.other.change_access(UserId::now(), &set(true), now(), later()).await.unwrap());
}

pub async fn a_password_changed_meanwhile_does_not_sign_in(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let new = PasswordHash::new("new".to_owned());
    assert!(two.other.change_password(user, Some(&password()), &new, None, now(), later()).await.unwrap());
    assert_eq!(two.one.open_session(&session(user), Some(&password()), now()).await.unwrap(), None);
    assert!(two.one.open_session(&session(user), Some(&new), now()).await.unwrap().is_some());
    assert!(!two.one.change_password(user, Some(&password()), &new, None, now(), later()).await.unwrap());
    two.one.rehash(user, &password(), &password()).await.unwrap();
    assert_eq!(two.one.password(user).await.unwrap(), Some(new));
}

pub async fn changing_the_password_ends_the_other_sessions(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (kept, keeps) = signed_in(&two.one, user).await;
    let (_, ends) = signed_in(&two.one, user).await;
    let reset = token();
    two.one.add_reset(user, "ann@example.org", &reset, later()).await.unwrap();
    assert!(two.other.change_password(user, Some(&password()), &password(), Some(kept), now(), later()).await.unwrap());
    assert!(is_rotated(&rotate(&two.one, &keeps, &token(), now()).await));
    assert_eq!(rotate(&two.one, &ends, &token(), now()).await, RotationOutcome::Unknown);
    assert_eq!(two.one.reset_password(&reset, &password(), now(), later()).await.unwrap(), None);
}

pub async fn of_many_concurrent_resets_one_spends_the_token(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (_, refresh) = signed_in(&two.one, user).await;
    let (reset, late) = (token(), token());
    two.one.add_reset(user, "ann@example.org", &late, now() - GRACE).await.unwrap();
    two.one.add_reset(user, "ann@example.org", &reset, later()).await.unwrap();
    let attempts = (0..20).map(|n| async move {
        let store = if n % 2 == 0 { &two.one } else { &two.other };
        let new = PasswordHash::new(format!("new {n}"));
        (store.reset_password(&reset, &new, now(), later()).await.unwrap(), new)
    });
    let outcomes = join_all(attempts).await;
    let won: Vec<_> = outcomes.iter().filter(|(set, _)| set.is_some()).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(won[0].0.map(|reset| reset.user), Some(user));
    assert_eq!(two.other.password(user).await.unwrap().as_ref(), Some(&won[0].1));
    assert_eq!(rotate(&two.one, &refresh, &token(), now()).await, RotationOutcome::Unknown);
    assert_eq!(two.one.reset_password(&late, &password(), now(), later()).await.unwrap(), None);
}

pub async fn a_new_address_ends_earlier_reset_tokens(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (first, second) = (token(), token());
    two.one.add_reset(user, "ann@example.org", &first, later()).await.unwrap();
    let named = ProfileChange { full_name: Some(Some("Ann".to_owned())), ..Default::default() };
    two.other.change_profile(user, &named, now(), later()).await.unwrap();
    let set = two.one.reset_password(&first, &password(), now(), later()).await.unwrap();
    assert_eq!(set.map(|reset| reset.user), Some(user), "a new user name ends no reset token");

    two.one.add_reset(user, "ann@example.org", &second, later()).await.unwrap();
    let moved = ProfileChange { email: Some("ann@example.com".to_owned()), ..Default::default() };
    two.other.change_profile(user, &moved, now(), later()).await.unwrap();
    assert_eq!(two.one.reset_password(&second, &password(), now(), later()).await.unwrap(), None);
}

fn api_token(user: UserId, expires_at: Option<Timestamp>) -> NewApiToken {
    let name = "the gate's camera".to_owned();
    NewApiToken {
        id: ApiTokenId::now(),
        user,
        name,
        token: token(),
        scopes: "frames:write".to_owned(),
        expires_at,
        by_session: None,
    }
}

pub async fn api_tokens_are_found_listed_and_deleted(two: &TwoStores) {
    let (ann, bob) = (add(&two.one, "ann").await, add(&two.one, "bob").await);
    let new = [api_token(ann, None), api_token(ann, Some(later()))];
    let at = now();
    for (n, token) in (0..).zip(&new) {
        let added = two.one.add_api_token(token, at + SignedDuration::from_secs(n)).await.unwrap();
        assert_eq!(added, ApiTokenWriteOutcome::Stored);
    }
    let found = two.other.api_token(&new[1].token).await.unwrap().unwrap();
    assert_eq!((found.user.id, found.token.id, found.token.expires_at), (ann, new[1].id, new[1].expires_at));
    assert_eq!((found.token.name, found.token.scopes), (new[1].name.clone(), new[1].scopes.clone()));
    assert!(two.other.api_token(&token()).await.unwrap().is_none());

    two.one.record_token_use(&[(new[0].id, at + GRACE)]).await.unwrap();
    two.other.record_token_use(&[(new[0].id, at)]).await.unwrap();
    let listed = two.other.api_tokens(ann).await.unwrap();
    assert_eq!(listed.iter().map(|token| token.id).collect::<Vec<_>>(), [new[1].id, new[0].id]);
    assert_eq!(listed[1].last_used_at, Some(at + GRACE));

    assert!(!two.other.delete_api_token(bob, new[0].id, later()).await.unwrap(), "it is another user's");
    assert!(two.other.delete_api_token(ann, new[0].id, later()).await.unwrap());
    assert!(two.one.api_token(&new[0].token).await.unwrap().is_none());
    let last = *two.one.revocations_after(0).await.unwrap().last().unwrap();
    assert_eq!((last.kind, last.subject), (RevocationKind::ApiToken, new[0].id.uuid()));
}

pub async fn a_user_has_at_most_the_allowed_api_tokens(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    for _ in 0..MAX_API_TOKENS - 1 {
        assert_eq!(two.one.add_api_token(&api_token(user, None), now()).await.unwrap(), ApiTokenWriteOutcome::Stored);
    }
    let attempts = (0..8).map(|n| async move {
        let store = if n % 2 == 0 { &two.one } else { &two.other };
        store.add_api_token(&api_token(user, None), now()).await.unwrap()
    });
    assert_eq!(join_all(attempts).await.into_iter().filter(|added| *added == ApiTokenWriteOutcome::Stored).count(), 1);
}

pub async fn reading_revocations_by_number_misses_none(two: &TwoStores) {
    const EACH: usize = 60;
    let (mut read, done, written) = (Vec::new(), AtomicBool::new(false), AtomicUsize::new(0));
    let write = async |store: &Relational| {
        for _ in 0..EACH {
            store.revoke_access_token(Uuid::new_v4(), later()).await.unwrap();
            written.fetch_add(1, Ordering::SeqCst);
        }
    };
    let writes = async {
        tokio::join!(write(&two.one), write(&two.other), write(&two.one), write(&two.other));
        done.store(true, Ordering::SeqCst);
    };
    let reads = async {
        loop {
            let all_there = done.load(Ordering::SeqCst);
            let last = read.last().copied().unwrap_or_default();
            let page = two.other.revocations_after(last).await.unwrap();
            read.extend(page.iter().map(|revocation| revocation.sequence));
            if all_there && page.is_empty() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writes, reads);
    assert_eq!(written.into_inner(), 4 * EACH);
    let all: Vec<i64> = (1..=i64::try_from(4 * EACH).unwrap()).collect();
    assert_eq!(read, all);
    assert_eq!(two.one.last_revocation().await.unwrap(), *all.last().unwrap());
}

pub async fn of_many_instances_without_a_key_one_adds_it(two: &TwoStores) {
    let attempts = (0..8).map(|n| async move {
        let store = if n % 2 == 0 { &two.one } else { &two.other };
        let decide = |keys: &[SigningKeyRecord]| {
            keys.is_empty().then(|| KeyRotation {
                add: SigningKeyRecord {
                    kid: format!("key {n}"),
                    public: vec![1],
                    private: vec![2],
                    signs_from: now(),
                    verifies_until: None,
                },
                old_keys_verify_until: now(),
            })
        };
        store.rotate_signing_keys(decide, later()).await.unwrap()
    });
    let seen = join_all(attempts).await;
    assert!(seen.iter().all(|keys| keys.len() == 1 && *keys == seen[0]), "{seen:?}");
    let keys = two.other.signing_keys().await.unwrap();
    assert_eq!(keys, seen[0]);
    assert_eq!(two.other.verifying_keys().await.unwrap(), [keys[0].verifying()]);
    let shown = format!("{keys:?}");
    assert!(shown.contains("***") && !shown.contains("[2]"), "{shown}");
}

pub async fn a_sweep_deletes_only_expired_rows(two: &TwoStores) {
    let store = &two.one;
    let user = add(store, "ann").await;
    let (id, refresh) = signed_in(store, user).await;
    let (kept, over) = (token(), token());
    store.add_reset(user, "ann@example.org", &kept, later()).await.unwrap();
    store.add_reset(user, "ann@example.org", &over, now() - GRACE).await.unwrap();
    store.revoke_access_token(Uuid::new_v4(), now() - GRACE).await.unwrap();
    store.revoke_access_token(Uuid::new_v4(), later()).await.unwrap();

    assert_eq!(store.sweep(now()).await.unwrap(), 2);

    assert_eq!(store.revocations_after(0).await.unwrap().len(), 1);
    assert_eq!(store.last_revocation().await.unwrap(), 2, "the numbers continue");
    assert_eq!(store.session_by_token(&refresh, now()).await.unwrap().unwrap().id, id);
    assert_eq!(store.sweep(later() + GRACE).await.unwrap(), 4);
    assert!(store.user(user).await.unwrap().is_some());
}
