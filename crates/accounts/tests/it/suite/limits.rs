//! Quotas, rate limits and the throttling of sign-ins.

use std::time::Duration;

use accounts::{
    AccessError, AccountError, Accounts, AccountsService, Actor, Caller, SecretText, Settings, Throttle, UserAccess,
};
use contracts::FrameId;
use futures::future::join_all;
use store::relational::{AccessChange, UserLimit};

use testing::eventually;

use crate::test_accounts::{PASSWORD, TestAccounts, home_origin, origin_from, registration, settings, sign_in};

/// Charges a frame; repeats while the database is busy.
async fn charge(accounts: &AccountsService, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
    loop {
        match accounts.charge(caller, frame).await {
            Err(AccessError::Unavailable(_)) => {}
            outcome => return outcome,
        }
    }
}

fn is_used_up(refused: &Result<(), AccessError>) -> bool {
    matches!(refused, Err(AccessError::QuotaExceeded { .. }))
}

pub async fn of_a_thousand_concurrent_frames_the_quota_is_charged(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let caller = &accounts.caller("ann").await;
    let attempts =
        (0..1000).map(|n| charge(if n % 2 == 0 { &accounts.one } else { &accounts.other }, caller, FrameId::now()));
    let outcomes = join_all(attempts).await;
    assert_eq!(outcomes.iter().filter(|charged| charged.is_ok()).count(), 100);
    assert_eq!(outcomes.iter().filter(|charged| is_used_up(charged)).count(), 900);
    let state = accounts.other.quota(caller).await.unwrap();
    assert_eq!((state.limit, state.used), (Some(100), 100));
    assert!(state.resets_at.is_some_and(|at| at > accounts.clock.now()));
}

pub async fn a_frame_is_charged_once_and_a_refused_one_never(accounts: &mut TestAccounts) {
    accounts.register_with_quota("ann", UserLimit::AtMost(2)).await;
    let caller = &accounts.caller("ann").await;
    let (first, second, third) = (FrameId::now(), FrameId::now(), FrameId::now());
    for accounts in [&accounts.one, &accounts.other, &accounts.one] {
        accounts.charge(caller, first).await.unwrap();
    }
    accounts.one.charge(caller, second).await.unwrap();
    assert!(is_used_up(&accounts.other.charge(caller, third).await));
    accounts.one.charge(caller, first).await.unwrap();
    accounts.one.refund(caller, second).await.unwrap();
    accounts.other.charge(caller, third).await.unwrap();
    assert_eq!(accounts.one.quota(caller).await.unwrap().used, 2);
}

pub async fn an_account_without_a_quota_costs_no_write(accounts: &mut TestAccounts) {
    let ann = accounts.register_with_quota("ann", UserLimit::Unlimited).await;
    let caller = &accounts.caller("ann").await;
    for _ in 0..200 {
        accounts.one.charge(caller, FrameId::now()).await.unwrap();
    }
    accounts.one.refund(caller, FrameId::now()).await.unwrap();
    let state = accounts.one.quota(caller).await.unwrap();
    assert_eq!((state.limit, state.used, state.resets_at), (None, 0, None));
    assert_eq!(accounts.store.used(ann.id, &accounts.clock.now().to_string()[..7]).await.unwrap(), 0);
}

pub async fn a_changed_quota_applies_at_once(accounts: &mut TestAccounts) {
    let ann = accounts.register_with_quota("ann", UserLimit::AtMost(0)).await;
    let tokens = accounts.sign_in("ann").await;
    let caller = &accounts.other.authenticate(tokens.access_token.expose()).await.unwrap();
    assert!(is_used_up(&accounts.other.charge(caller, FrameId::now()).await));
    let more = AccessChange {
        quota: Some(UserLimit::AtMost(1)),
        rate_limit: Some(UserLimit::AtMost(3)),
        ..AccessChange::default()
    };
    accounts.one.change_access(ann.id, &more, &Actor::default()).await.unwrap();
    eventually("the new quota applies", async || accounts.other.charge(caller, FrameId::now()).await.is_ok()).await;
    assert!(is_used_up(&accounts.other.charge(caller, FrameId::now()).await));
    let now = accounts.other.authenticate(tokens.access_token.expose()).await.unwrap();
    assert_eq!(now.rate_limit, Some(3), "the session continues");
}

pub async fn a_quota_restarts_with_its_period(accounts: &mut TestAccounts) {
    accounts.register_with_quota("ann", UserLimit::AtMost(1)).await;
    let caller = &accounts.caller("ann").await;
    let frame = FrameId::now();
    accounts.one.charge(caller, frame).await.unwrap();
    let refused = accounts.one.charge(caller, FrameId::now()).await;
    let Err(AccessError::QuotaExceeded { resets_at: Some(resets_at) }) = refused else { panic!("{refused:?}") };
    let left = resets_at.duration_since(accounts.clock.now());
    accounts.clock.advance(Duration::try_from(left).unwrap() + Duration::from_secs(1));
    accounts.one.charge(caller, frame).await.unwrap();
    assert_eq!(accounts.one.quota(caller).await.unwrap().used, 0, "the frame was counted in the last period");
    accounts.one.charge(caller, FrameId::now()).await.unwrap();
    assert_eq!(accounts.one.quota(caller).await.unwrap().used, 1);
}

pub async fn requests_beyond_the_rate_are_refused_with_a_retry_time(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let mut caller = accounts.caller("ann").await;
    let admitted = accounts.one.admit(&caller).await.unwrap().unwrap();
    assert!(admitted.allowed && admitted.remaining == 9);
    caller.rate_limit = Some(1);
    let caller = Caller { user: Some(contracts::UserId::now()), ..caller };
    accounts.one.admit(&caller).await.unwrap();
    let refused = accounts.one.admit(&caller).await.unwrap_err();
    let AccessError::RateLimited { limit: 1, retry_after } = refused else { panic!("{refused:?}") };
    assert!(retry_after > Duration::ZERO && retry_after <= Duration::from_secs(1));
    let unlimited = Caller { rate_limit: None, ..caller };
    for _ in 0..100 {
        assert_eq!(accounts.one.admit(&unlimited).await.unwrap(), None);
    }
}

pub async fn guesses_at_an_account_do_not_lock_its_owner_out(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    accounts.sign_in("ann").await;
    let (wrong, right) = (SecretText::new("not the password"), SecretText::new(PASSWORD));
    let mut throttled = 0;
    for n in 0..120 {
        let guess = accounts.one.sign_in("ann", &wrong, None, &origin_from(&format!("198.51.100.{n}"))).await;
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
    accounts.one.sign_in("ann", &right, None, &home_origin()).await.expect("the owner signs in from the usual address");
    let stranger = accounts.one.sign_in("ann", &right, None, &origin_from("203.0.113.9")).await;
    assert!(matches!(stranger, Err(AccountError::Throttled { .. })), "{stranger:?}");
}

pub async fn guesses_from_one_address_are_limited(accounts: &mut TestAccounts) {
    for name in ["ann", "bob"] {
        accounts.register(name).await;
    }
    let mut tries = 0;
    while !matches!(sign_in(&accounts.one, "ann", "wrong password").await, Err(AccountError::Throttled { .. })) {
        tries += 1;
        assert!(tries < 20, "the limit of one account from one address is missing");
    }
    sign_in(&accounts.one, "bob", PASSWORD).await.expect("another account has its own limits");
    let mut tries = 0;
    while !matches!(sign_in(&accounts.one, &format!("u{tries}"), "x").await, Err(AccountError::Throttled { .. })) {
        tries += 1;
        assert!(tries < 200, "the limit of one address is missing");
    }
}

pub async fn without_a_limit_by_address_accounts_stay_limited(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let throttle = Throttle { address: None, tokens: None, ..Throttle::default() };
    let open = accounts.open(Settings { throttle, ..settings() }, Vec::new()).await;
    for n in 0..150 {
        assert_eq!(sign_in(&open, &format!("u{n}"), "x").await.unwrap_err(), AccountError::WrongPassword, "{n}");
    }
    for n in 0..1_100 {
        let refused = open.refresh(&SecretText::new("junk"), &home_origin()).await;
        assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant, "{n}");
    }
    let mut tries = 0;
    while !matches!(sign_in(&open, "ann", "wrong password").await, Err(AccountError::Throttled { .. })) {
        tries += 1;
        assert!(tries < 20, "the limit of one account from one address is missing");
    }
}

pub async fn registrations_from_one_address_are_limited(accounts: &mut TestAccounts) {
    let actor = |address: &str| Actor { user: None, address: Some(address.parse().unwrap()) };
    let register = async |name: &str, actor: &Actor| {
        accounts.one.register(&registration(name), UserAccess::default(), actor).await
    };
    let mut added = 0;
    let refused = loop {
        match register(&format!("u{added}"), &actor("203.0.113.9")).await {
            Ok(_) => added += 1,
            Err(refused) => break refused,
        }
        assert!(added < 200, "the limit of one address is missing");
    };
    assert!(matches!(refused, AccountError::Throttled { .. }), "{refused:?}");
    register("ann", &actor("192.0.2.7")).await.expect("another address has its own limit");
    register("bob", &Actor::default()).await.expect("the limit does not apply to an operator");
}
