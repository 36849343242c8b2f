//! What a crash or a lost answer left is finished by another instance.

use std::time::Duration;

use contracts::OrderStatus;
use futures::future::join_all;
use shop::{MockBehaviour, PaymentOutcome, PaymentRequest, Payments};
use store::relational::MockPaymentState;

use crate::test_shop::{TestShop, code};

/// After it the reconciler asks about an order.
const SOON: Duration = Duration::from_secs(90);
/// After it nobody pays an order any more.
const LATE: Duration = Duration::from_secs(40 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_paid_is_granted_after_a_crash() {
    let shop = TestShop::new().await;
    let books = [shop.book("Emma", 999).await, shop.book("Persuasion", 1_299).await];
    shop.payments.behave(MockBehaviour::PayAndHang);
    let mut users = Vec::new();
    for n in 0..5 {
        let user = shop.shopper(&format!("user{n}"), &books).await;
        assert_eq!(code(shop.hasty.checkout(user, None, None).await), Some("payment_pending"));
        assert!(shop.bought(user).await.is_empty());
        users.push(user);
    }
    shop.payments.behave(MockBehaviour::Pay);
    shop.other.work_once().await.unwrap();
    assert!(shop.bought(users[0]).await.is_empty(), "a checkout in progress is left alone");
    shop.work_after(SOON).await;
    for user in &users {
        assert_eq!(shop.bought(*user).await.len(), 2);
        assert!(shop.one.cart(*user).await.unwrap().lines.is_empty());
    }
    let paid = shop.payments().await.into_iter().filter(|payment| payment.state == MockPaymentState::Paid).count();
    assert_eq!(paid, users.len(), "the provider has one payment of each order");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_nobody_pays_do_not_delay_one_that_was_paid() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let pending = async |name: String| {
        let user = shop.shopper(&name, &[book]).await;
        assert_eq!(code(shop.hasty.checkout(user, None, None).await), Some("payment_pending"));
        user
    };
    shop.payments.behave(MockBehaviour::Hang);
    // More than are read at once.
    join_all((0..101).map(|n| pending(format!("user{n}")))).await;
    shop.payments.behave(MockBehaviour::PayAndHang);
    let ann = pending("ann".to_owned()).await;
    shop.payments.behave(MockBehaviour::Pay);
    shop.work_after(SOON).await;
    assert_eq!(shop.bought(ann).await, [book]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_order_ends_and_cannot_be_paid_later() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.payments.behave(MockBehaviour::Hang);
    assert_eq!(code(shop.hasty.checkout(user, None, None).await), Some("payment_pending"));
    shop.payments.behave(MockBehaviour::Pay);
    shop.work_after(SOON).await;
    let order = shop.one.orders(user, None, 1).await.unwrap().remove(0);
    assert_eq!(order.status, OrderStatus::Pending, "its user may still pay it");
    shop.work_after(LATE).await;
    let order = shop.one.order(&shop.as_admin(), order.id).await.unwrap();
    assert_eq!((order.status, order.why.as_deref()), (OrderStatus::Declined, Some("it was not paid in time")));
    let late = shop.payments.pay(&PaymentRequest { key: order.id, amount: order.total }).await.unwrap();
    assert!(matches!(late, PaymentOutcome::Declined { .. }), "{late:?}");
    shop.one.checkout(user, None, None).await.unwrap();
    assert_eq!(shop.bought(user).await, [book]);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_ends_no_order() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.payments.behave(MockBehaviour::Fail);
    assert_eq!(code(shop.one.checkout(user, None, None).await), Some("payment_pending"));
    shop.clock.advance(LATE);
    assert_eq!(code(shop.other.work_once().await), Some("unavailable"));
    let order = shop.one.orders(user, None, 1).await.unwrap().remove(0);
    assert_eq!(order.status, OrderStatus::Pending);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_user_gets_the_money_of_an_ungranted_order_back() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.payments.behave(MockBehaviour::PayAndHang);
    assert_eq!(code(shop.hasty.checkout(user, None, None).await), Some("payment_pending"));
    let order = shop.one.orders(user, None, 1).await.unwrap().remove(0);
    shop.accounts.delete_user(user, &shop.actor).await.unwrap();
    shop.payments.behave(MockBehaviour::Pay);
    shop.work_after(SOON).await;
    assert_eq!(shop.payments().await[0].state, MockPaymentState::Refunded);
    let kept = shop.one.kept_orders(None, 10).await.unwrap();
    assert_eq!(kept.iter().map(|kept| (kept.id, kept.status)).collect::<Vec<_>>(), [(order.id, OrderStatus::Refunded)]);
    shop.stop().await;
}
