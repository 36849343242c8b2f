//! What the shop has of its users: positions, and what stays of a deleted user.

use std::time::Duration;

use contracts::{BookId, OrderStatus, UserId};
use jiff::{SignedDuration, Timestamp};
use store::relational::{KeptOrderRecord, Position, SettleOutcome};

use super::shop_books::{entry, euros, sell};
use super::shop_orders::{buy, fill, open, payment, refund, settle};
use crate::relational::{TwoStores, add, later, now};

pub async fn of_two_devices_the_one_that_played_last_counts(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let book = sell(&two.one, "Emma").await.id;
    let at = now();
    let position = |seconds: u64, played: i64| Position {
        at: Duration::from_millis(seconds * 1_000 + 1),
        event_time: at + SignedDuration::from_secs(played),
    };
    assert_eq!(two.one.position(user, book).await.unwrap(), None);
    let phone = position(100, 20);
    assert_eq!(two.one.put_position(user, book, &phone).await.unwrap(), Some(phone));
    assert_eq!(two.other.put_position(user, book, &position(900, 10)).await.unwrap(), Some(phone), "it came late");
    let back = position(5, 30);
    assert_eq!(two.other.put_position(user, book, &back).await.unwrap(), Some(back));
    assert_eq!(two.one.position(user, book).await.unwrap(), Some(back));
    assert_eq!(two.one.put_position(UserId::now(), book, &back).await.unwrap(), None);
    assert_eq!(two.one.put_position(user, BookId::now(), &back).await.unwrap(), None);
}

pub async fn a_deleted_user_leaves_orders_without_a_name(two: &TwoStores) {
    let (ann, ben) = (add(&two.one, "ann").await, add(&two.one, "ben").await);
    let mut books = Vec::new();
    for title in ["Emma", "Lady Susan", "Sanditon", "Persuasion"] {
        books.push(sell(&two.one, title).await.id);
    }
    let paid = buy(two, ann, &books[..2]).await;
    let of_ben = buy(two, ben, &books[..1]).await;
    let refunded = buy(two, ann, &books[2..3]).await;
    refund(&two.one, refunded.id).await;
    assert!(two.one.end_refund(refunded.id, None, now()).await.unwrap());
    fill(&two.one, ann, &books[3..]).await;
    let declined = open(&two.one, ann, "a").await;
    assert!(two.one.decline_order(declined.id, "no money").await.unwrap());
    let pending = open(&two.one, ann, "b").await;
    let position = Position { at: Duration::from_secs(1), event_time: now() };
    two.one.put_position(ann, books[0], &position).await.unwrap();

    assert!(two.one.delete_user(ann, now(), later()).await.unwrap());

    let store = &two.other;
    assert!(store.orders(ann, None, 50).await.unwrap().is_empty());
    assert!(store.purchases(ann, None, 50).await.unwrap().is_empty());
    assert!(store.cart(ann).await.unwrap().lines.is_empty());
    assert!(!store.entitled(ann, books[0]).await.unwrap());
    assert_eq!(store.position(ann, books[0]).await.unwrap(), None);
    for order in [&paid, &refunded, &declined, &pending] {
        assert_eq!(store.order(order.id).await.unwrap(), None);
    }
    assert!(store.entitled(ben, books[0]).await.unwrap() && store.order(of_ben.id).await.unwrap().is_some());
    let kept = store.kept_orders(None, 50).await.unwrap();
    let listed: Vec<_> = kept.iter().map(|order| (order.id, order.status)).collect();
    let expected =
        [(pending.id, OrderStatus::Pending), (refunded.id, OrderStatus::Refunded), (paid.id, OrderStatus::Paid)];
    assert_eq!(listed, expected);
    let last = KeptOrderRecord {
        id: paid.id,
        status: OrderStatus::Paid,
        total: euros(2_598),
        lines: paid.lines.clone(),
        created_at: paid.created_at,
        paid_at: paid.paid_at,
        payment: paid.payment.clone(),
        refunded_at: None,
    };
    assert_eq!(kept[2], last);
    assert_eq!(store.kept_order(paid.id).await.unwrap().as_ref(), Some(&last));
    assert_eq!(store.kept_orders(Some(&kept[1].cursor()), 50).await.unwrap(), [last]);
    assert!(kept[1].refunded_at.is_some());
}

pub async fn a_payment_of_a_deleted_user_is_told_and_paid_back(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    fill(&two.one, user, &[sell(&two.one, "Emma").await.id]).await;
    let order = open(&two.one, user, "a").await;
    assert!(two.one.delete_user(user, now(), later()).await.unwrap());

    let settled = two.other.settle_order(order.id, &payment(&order), now()).await.unwrap();

    let SettleOutcome::UserGone(kept) = settled else { unreachable!("its user is deleted: {settled:?}") };
    assert_eq!((kept.status, kept.total), (OrderStatus::Pending, order.total));
    assert_eq!(two.other.unsettled_kept_orders(later(), None, 50).await.unwrap(), [kept]);
    let change = async |from, to| {
        let (payment, entry) = (payment(&order), entry("order_refunded"));
        two.other.change_kept_order(order.id, from, to, Some(&payment), Some(&entry), now()).await.unwrap()
    };
    assert!(change(OrderStatus::Pending, OrderStatus::Refunding).await);
    assert!(!change(OrderStatus::Pending, OrderStatus::Declined).await, "it is no longer pending");
    assert_eq!(two.one.unsettled_kept_orders(later(), None, 50).await.unwrap().len(), 1);
    assert!(change(OrderStatus::Refunding, OrderStatus::Refunded).await);
    assert_eq!(two.one.unsettled_kept_orders(later(), None, 50).await.unwrap(), []);
    let done = two.one.kept_order(order.id).await.unwrap().unwrap();
    assert!(done.refunded_at.is_some() && done.paid_at.is_some(), "{done:?}");
    assert_eq!(two.one.audit_log(None, None, 50).await.unwrap().len(), 2);
}

pub async fn a_kept_order_that_nobody_paid_ends(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    fill(&two.one, user, &[sell(&two.one, "Emma").await.id]).await;
    let order = open(&two.one, user, "a").await;
    assert!(two.one.delete_user(user, now(), later()).await.unwrap());
    let (pending, declined) = (OrderStatus::Pending, OrderStatus::Declined);
    assert!(two.other.change_kept_order(order.id, pending, declined, None, None, now()).await.unwrap());
    assert!(two.one.kept_orders(None, 50).await.unwrap().is_empty());
    assert_eq!(two.one.kept_order(order.id).await.unwrap(), None);
}

pub async fn a_user_is_deleted_during_its_checkout(two: &TwoStores) {
    let book = sell(&two.one, "Emma").await.id;
    for number in 0..10 {
        let user = add(&two.one, &format!("ann{number}")).await;
        fill(&two.one, user, &[book]).await;
        let order = open(&two.one, user, "a").await;
        let paid = payment(&order);
        let delete = two.one.delete_user(user, now(), later());
        let (settled, deleted) = tokio::join!(two.other.settle_order(order.id, &paid, now()), delete);
        assert!(deleted.unwrap());
        let settled = settled.unwrap();
        let expected = match settled {
            SettleOutcome::Settled(_) => OrderStatus::Paid,
            SettleOutcome::UserGone(_) => OrderStatus::Pending,
            other => unreachable!("the order is there: {other:?}"),
        };
        assert_eq!(two.one.kept_order(order.id).await.unwrap().unwrap().status, expected);
        assert!(!two.one.entitled(user, book).await.unwrap());
    }
}

pub async fn kept_orders_end_after_the_time_of_bookkeeping(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    fill(&two.one, user, &[sell(&two.one, "Emma").await.id]).await;
    let order = settle(&two.one, &open(&two.one, user, "a").await).await;
    assert!(two.one.delete_user(user, now(), later()).await.unwrap());
    let years = |years: i64| Timestamp::now() + SignedDuration::from_hours(24 * 366 * years);
    two.one.sweep(years(10)).await.unwrap();
    assert!(two.other.kept_order(order.id).await.unwrap().is_some());
    two.one.sweep(years(11) + SignedDuration::from_hours(24)).await.unwrap();
    assert!(two.other.kept_orders(None, 50).await.unwrap().is_empty());
}
