//! Quotas, rate limits and the throttling of sign-ins.

use std::time::Duration;

use accounts::{AccessError, AccountError, Accounts, By, Caller, Granted, Secret, StoredAccounts};
use contracts::FrameId;
use futures::future::join_all;
use store::relational::{AccessChange, Allowance};

use crate::site::{PASSWORD, Site, eventually, from, home, registration, sign_in};

/// Charges a frame; asks again while the database is busy.
async fn charge(accounts: &StoredAccounts, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
    loop {
        match accounts.charge(caller, frame).await {
            Err(AccessError::Unavailable(_)) => {}
            told => return told,
        }
    }
}

fn is_used_up(refused: &Result<(), AccessError>) -> bool {
    matches!(refused, Err(AccessError::QuotaExceeded { .. }))
}

pub async fn of_a_thousand_frames_at_once_as_many_as_the_quota_are_charged(site: &mut Site) {
    site.register("ann").await;
    let caller = &site.caller("ann").await;
    let attempts = (0..1000).map(|n| charge(if n % 2 == 0 { &site.one } else { &site.other }, caller, FrameId::now()));
    let outcomes = join_all(attempts).await;
    assert_eq!(outcomes.iter().filter(|charged| charged.is_ok()).count(), 100);
    assert_eq!(outcomes.iter().filter(|charged| is_used_up(charged)).count(), 900);
    let state = site.other.quota(caller).await.unwrap();
    assert_eq!((state.limit, state.used), (Some(100), 100));
    assert!(state.resets_at.is_some_and(|at| at > site.clock.now()));
}

pub async fn a_frame_costs_once_and_a_refused_one_nothing(site: &mut Site) {
    site.with_quota("ann", Allowance::AtMost(2)).await;
    let caller = &site.caller("ann").await;
    let (first, second, third) = (FrameId::now(), FrameId::now(), FrameId::now());
    for accounts in [&site.one, &site.other, &site.one] {
        accounts.charge(caller, first).await.unwrap();
    }
    site.one.charge(caller, second).await.unwrap();
    assert!(is_used_up(&site.other.charge(caller, third).await));
    site.one.charge(caller, first).await.unwrap();
    site.one.refund(caller, second).await.unwrap();
    site.other.charge(caller, third).await.unwrap();
    assert_eq!(site.one.quota(caller).await.unwrap().used, 2);
}

pub async fn an_account_without_a_quota_costs_no_write(site: &mut Site) {
    let ann = site.with_quota("ann", Allowance::Unlimited).await;
    let caller = &site.caller("ann").await;
    for _ in 0..200 {
        site.one.charge(caller, FrameId::now()).await.unwrap();
    }
    site.one.refund(caller, FrameId::now()).await.unwrap();
    let state = site.one.quota(caller).await.unwrap();
    assert_eq!((state.limit, state.used, state.resets_at), (None, 0, None));
    assert_eq!(site.store.used(ann.id, &site.clock.now().to_string()[..7]).await.unwrap(), 0);
}

pub async fn a_change_of_quota_counts_at_once(site: &mut Site) {
    let ann = site.with_quota("ann", Allowance::AtMost(0)).await;
    let grant = site.sign_in("ann").await;
    let caller = &site.other.authenticate(grant.access_token.expose()).await.unwrap();
    assert!(is_used_up(&site.other.charge(caller, FrameId::now()).await));
    let more = AccessChange {
        quota: Some(Allowance::AtMost(1)),
        rate_limit: Some(Allowance::AtMost(3)),
        ..AccessChange::default()
    };
    site.one.change_access(ann.id, &more, &By::default()).await.unwrap();
    eventually("the other instance knows", async || site.other.charge(caller, FrameId::now()).await.is_ok()).await;
    assert!(is_used_up(&site.other.charge(caller, FrameId::now()).await));
    let now = site.other.authenticate(grant.access_token.expose()).await.unwrap();
    assert_eq!(now.rate_limit, Some(3), "and the sign-in goes on");
}

pub async fn a_quota_begins_anew_with_its_period(site: &mut Site) {
    site.with_quota("ann", Allowance::AtMost(1)).await;
    let caller = &site.caller("ann").await;
    let frame = FrameId::now();
    site.one.charge(caller, frame).await.unwrap();
    let refused = site.one.charge(caller, FrameId::now()).await;
    let Err(AccessError::QuotaExceeded { resets_at: Some(resets_at) }) = refused else { panic!("{refused:?}") };
    let left = resets_at.duration_since(site.clock.now());
    site.clock.advance(Duration::try_from(left).unwrap() + Duration::from_secs(1));
    site.one.charge(caller, frame).await.unwrap();
    assert_eq!(site.one.quota(caller).await.unwrap().used, 0, "the frame was counted in the last period");
    site.one.charge(caller, FrameId::now()).await.unwrap();
    assert_eq!(site.one.quota(caller).await.unwrap().used, 1);
}

pub async fn requests_beyond_the_rate_are_refused_with_a_time(site: &mut Site) {
    site.register("ann").await;
    let mut caller = site.caller("ann").await;
    let admitted = site.one.admit(&caller).await.unwrap().unwrap();
    assert!(admitted.allowed && admitted.remaining == 9);
    caller.rate_limit = Some(1);
    let caller = Caller { user: Some(contracts::UserId::now()), ..caller };
    site.one.admit(&caller).await.unwrap();
    let refused = site.one.admit(&caller).await.unwrap_err();
    let AccessError::RateLimited { limit: 1, retry_after } = refused else { panic!("{refused:?}") };
    assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_secs(1));
    let unlimited = Caller { rate_limit: None, ..caller };
    for _ in 0..100 {
        assert_eq!(site.one.admit(&unlimited).await.unwrap(), None);
    }
}

pub async fn guessing_at_an_account_does_not_shut_its_owner_out(site: &mut Site) {
    site.register("ann").await;
    site.sign_in("ann").await;
    let (wrong, right) = (Secret::new("not the password"), Secret::new(PASSWORD));
    let mut throttled = 0;
    for n in 0..120 {
        let guess = site.one.sign_in("ann", &wrong, None, &from(&format!("198.51.100.{n}"))).await;
        match guess.unwrap_err() {
            AccountError::WrongPassword => {}
            AccountError::Throttled { retry_after } => {
                assert!(retry_after >= Duration::from_secs(1));
                throttled += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(throttled > 50, "{throttled} of 120 guesses were slowed down");
    site.one.sign_in("ann", &right, None, &home()).await.expect("the owner, at home, is let in");
    let stranger = site.one.sign_in("ann", &right, None, &from("203.0.113.9")).await;
    assert!(matches!(stranger, Err(AccountError::Throttled { .. })), "{stranger:?}");
}

pub async fn guessing_from_one_address_is_slowed_down(site: &mut Site) {
    for name in ["ann", "bob"] {
        site.register(name).await;
    }
    let mut tries = 0;
    while !matches!(sign_in(&site.one, "ann", "wrong password").await, Err(AccountError::Throttled { .. })) {
        tries += 1;
        assert!(tries < 20, "one account from one address");
    }
    sign_in(&site.one, "bob", PASSWORD).await.expect("another account has room of its own");
    let mut tries = 0;
    while !matches!(sign_in(&site.one, &format!("u{tries}"), "x").await, Err(AccountError::Throttled { .. })) {
        tries += 1;
        assert!(tries < 200, "many accounts from one address");
    }
}

pub async fn registering_from_one_address_is_slowed_down(site: &mut Site) {
    let by = |address: &str| By { user: None, address: Some(address.parse().unwrap()) };
    let register = async |name: &str, by: &By| site.one.register(&registration(name), Granted::default(), by).await;
    let mut added = 0;
    let refused = loop {
        match register(&format!("u{added}"), &by("203.0.113.9")).await {
            Ok(_) => added += 1,
            Err(refused) => break refused,
        }
        assert!(added < 200, "many users from one address");
    };
    assert!(matches!(refused, AccountError::Throttled { .. }), "{refused:?}");
    register("ann", &by("192.0.2.7")).await.expect("another address has room of its own");
    register("bob", &By::default()).await.expect("an operator is not held");
}
