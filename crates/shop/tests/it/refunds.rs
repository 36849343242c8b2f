//! Refunds.

use std::time::Duration;

use contracts::{AssetKind, OrderId, OrderStatus};
use shop::{MockBehaviour, ShopError, Viewer};
use store::relational::MockPaymentState;

use crate::test_shop::{TestShop, code, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_takes_the_book_back_at_once_everywhere() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    let order = shop.one.checkout(user, Some("one"), None).await.unwrap();
    let viewer = Viewer::user(user);
    let link = token(shop.one.link(&viewer, book, AssetKind::Master).await.unwrap());
    let opened = shop.other.open_link(&link).await.unwrap();

    for _ in 0..2 {
        let refunded = shop.one.refund(order.id, "asked for it", &shop.actor).await.unwrap();
        assert_eq!((refunded.id, refunded.status), (order.id, OrderStatus::Refunded));
        assert_eq!(code(shop.other.open_link(&link).await), Some("link_invalid"));
        assert_eq!(code(shop.other.still_allowed(&opened).await), Some("link_invalid"));
        assert_eq!(code(shop.other.link(&viewer, book, AssetKind::Master).await), Some("not_bought"));
        assert!(shop.bought(user).await.is_empty());
    }
    let states: Vec<_> = shop.payments().await.into_iter().map(|payment| payment.state).collect();
    assert_eq!(states, [MockPaymentState::Refunded]);
    let log = shop.database.audit_log(None, None, 20).await.unwrap();
    let entries: Vec<_> = log.iter().filter(|entry| entry.action == "order_refunded").collect();
    assert_eq!(entries.len(), 1, "one entry");
    assert_eq!(entries[0].detail, Some(format!("{}: asked for it", order.id)));

    assert_eq!(code(shop.one.checkout(user, Some("one"), None).await), Some("key_reused"));
    shop.one.add_to_cart(user, book).await.unwrap();
    shop.one.checkout(user, None, None).await.unwrap();
    assert_eq!(shop.bought(user).await, [book], "it can be bought again");
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_without_an_answer_is_finished_later() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    let order = shop.one.checkout(user, None, None).await.unwrap();
    for behaviour in [MockBehaviour::Fail, MockBehaviour::Hang] {
        shop.payments.behave(behaviour);
        let refunding = shop.hasty.refund(order.id, "asked for it", &shop.actor).await.unwrap();
        assert_eq!(refunding.status, OrderStatus::Refunding, "{behaviour:?}");
        assert!(shop.bought(user).await.is_empty(), "the book is revoked first");
    }
    shop.payments.behave(MockBehaviour::Pay);
    shop.work_after(Duration::from_secs(120)).await;
    let order = shop.one.order(&shop.as_admin(), order.id).await.unwrap();
    assert_eq!(order.status, OrderStatus::Refunded);
    assert_eq!(shop.payments().await[0].state, MockPaymentState::Refunded);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_was_not_paid_is_not_refunded() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.payments.behave(MockBehaviour::Fail);
    assert_eq!(code(shop.one.checkout(user, None, None).await), Some("payment_pending"));
    let order = shop.one.orders(user, None, 1).await.unwrap().remove(0);
    let refused = shop.one.refund(order.id, "", &shop.actor).await.unwrap_err();
    assert_eq!(refused, ShopError::NotRefundable("pending"));
    assert_eq!(code(shop.one.refund(OrderId::now(), "", &shop.actor).await), Some("not_found"));
    let long = shop.one.refund(order.id, &"x".repeat(301), &shop.actor).await.unwrap_err();
    assert_eq!(long.field(), Some("reason"));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_of_another_user_is_not_found() {
    let shop = TestShop::new().await;
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    let order = shop.one.checkout(user, None, None).await.unwrap();
    let other = Viewer::user(shop.user("bob").await);
    assert_eq!(code(shop.one.order(&other, order.id).await), Some("not_found"));
    assert_eq!(shop.one.order(&Viewer::user(user), order.id).await.unwrap().id, order.id);
    shop.stop().await;
}
