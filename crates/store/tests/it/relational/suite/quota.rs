//! Counting frames against the quota.

use contracts::{FrameId, UserId};
use futures::future::join_all;
use jiff::SignedDuration;
use store::relational::{Charge, ChargeOutcome, RotationOutcome};

use crate::relational::{TwoStores, add, later, now, session, token};

const PERIOD: &str = "2026-11";

fn charge(user: UserId, frame: FrameId, limit: u32) -> Charge<'static> {
    Charge { user, frame, period: PERIOD, limit }
}

pub async fn of_a_thousand_concurrent_charges_the_quota_is_admitted(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let attempts = (0..1000).map(|n| async move {
        let store = if n % 2 == 0 { &two.one } else { &two.other };
        // An exhausted pool answers `Unavailable`; the caller retries.
        loop {
            if let Ok(charged) = store.charge(&charge(user, FrameId::now(), 100), now()).await {
                return charged;
            }
        }
    });
    let outcomes = join_all(attempts).await;
    let admitted = outcomes.iter().filter(|charged| matches!(charged, ChargeOutcome::Admitted { .. })).count();
    assert_eq!(admitted, 100);
    assert_eq!(two.other.used(user, PERIOD).await.unwrap(), 100);
}

pub async fn a_frame_counts_once_however_often_it_is_sent(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let frame = FrameId::now();
    let attempts = (0..50).map(|n| async move {
        let store = if n % 2 == 0 { &two.one } else { &two.other };
        store.charge(&charge(user, frame, 1), now()).await.unwrap()
    });
    assert_eq!(join_all(attempts).await, vec![ChargeOutcome::Admitted { used: 1 }; 50]);
    assert_eq!(two.one.charge(&charge(user, FrameId::now(), 1), now()).await.unwrap(), ChargeOutcome::Refused);
}

pub async fn a_refund_gives_back_its_own_charge(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (alone, twice) = (FrameId::now(), FrameId::now());
    for frame in [alone, twice, twice] {
        two.one.charge(&charge(user, frame, 9), now()).await.unwrap();
    }
    two.other.refund(user, alone, now()).await.unwrap();
    two.other.refund(user, twice, now()).await.unwrap();
    assert_eq!(two.one.used(user, PERIOD).await.unwrap(), 1, "one of the two requests with the frame is admitted");
    two.other.refund(user, twice, now()).await.unwrap();
    // A second refund changes nothing.
    two.other.refund(user, twice, now()).await.unwrap();
    assert_eq!(two.one.used(user, PERIOD).await.unwrap(), 0);
}

pub async fn a_frame_of_the_last_period_does_not_count_again(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let frame = FrameId::now();
    two.one.charge(&charge(user, frame, 1), now()).await.unwrap();
    let next = Charge { period: "2026-12", ..charge(user, frame, 1) };
    assert_eq!(two.one.charge(&next, now()).await.unwrap(), ChargeOutcome::Admitted { used: 0 });
    two.one.refund(user, frame, now()).await.unwrap();
    assert_eq!(two.one.used(user, PERIOD).await.unwrap(), 1);
}

pub async fn a_deleted_user_is_not_charged(two: &TwoStores) {
    let charged = two.one.charge(&charge(UserId::now(), FrameId::now(), 1), now()).await.unwrap();
    assert_eq!(charged, ChargeOutcome::UnknownUser);
}

/// Concurrent operations on one user neither deadlock nor fail.
pub async fn a_user_is_deleted_during_its_requests(two: &TwoStores) {
    for _ in 0..20 {
        let user = add(&two.one, "ann").await;
        let session = session(user);
        two.one.open_session(&session, None, now()).await.unwrap().unwrap();
        let charges = async |store: &store::Relational| {
            let mut last = ChargeOutcome::Admitted { used: 0 };
            while last != ChargeOutcome::UnknownUser {
                last = store.charge(&charge(user, FrameId::now(), 1000), now()).await.unwrap();
            }
        };
        let renewals = async {
            let (mut spent, grace) = (session.token, SignedDuration::ZERO);
            loop {
                let next = token();
                let rotation = two.one.rotate(&spent, &next, now(), grace, later(), later()).await.unwrap();
                let RotationOutcome::Rotated { .. } = rotation else { break };
                spent = next;
            }
        };
        let deletion = async {
            while two.other.used(user, PERIOD).await.unwrap() < 3 {
                tokio::task::yield_now().await;
            }
            assert!(two.other.delete_user(user, now(), later()).await.unwrap());
        };
        tokio::join!(charges(&two.one), charges(&two.other), renewals, deletion);
    }
}
