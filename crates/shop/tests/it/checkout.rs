//! Checkout: each test on SQLite, and on PostgreSQL.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::{OrderStatus, UserId};
use shop::{BookFields, MockBehaviour, ShopError};
use store::relational::MockPaymentState;
use tokio::task::JoinSet;

use crate::test_database::on_fresh;
use crate::test_shop::{TestShop, code, euro};

/// Requests at once.
const AT_ONCE: usize = 100;

macro_rules! on_both {
    ($($guarantee:ident,)*) => {
        mod sqlite {
            use crate::test_shop::TestShop;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $guarantee() {
                    let shop = TestShop::new().await;
                    super::$guarantee(&shop).await;
                    shop.stop().await;
                }
            )*
        }

        mod postgres {
            use super::on_fresh;
            use crate::test_shop::TestShop;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs postgres"]
                async fn $guarantee() {
                    on_fresh(async |url| {
                        let shop = TestShop::on_postgres(&url).await;
                        super::$guarantee(&shop).await;
                        shop.stop().await;
                    })
                    .await;
                }
            )*
        }
    };
}

on_both! {
    a_cart_is_bought_once_and_then_empty,
    checkouts_at_once_with_one_key_are_one_order,
    checkouts_at_once_with_many_keys_are_one_order,
    checkouts_at_once_without_a_key_are_one_order,
    a_changed_price_is_told_before_it_is_paid,
    a_book_that_is_gone_is_named,
    a_declined_payment_leaves_the_cart_to_try_again,
    a_cart_that_was_declined_often_can_still_be_bought,
    a_hanging_payment_is_joined_by_the_next_checkout,
    a_changed_cart_replaces_the_order_in_its_way,
    a_lower_price_replaces_the_order_in_its_way,
    a_free_book_needs_no_payment,
    a_key_is_checked,
}

/// Many checkouts at once, on both instances. Returns the orders, and the codes of refusals.
async fn at_once(
    shop: &TestShop,
    user: UserId,
    key: impl Fn(usize) -> Option<String>,
) -> (usize, BTreeSet<&'static str>) {
    let mut running = JoinSet::new();
    for n in 0..AT_ONCE {
        let instance = if n % 2 == 0 { shop.one.clone() } else { shop.other.clone() };
        let of_this = key(n);
        running.spawn(async move { instance.checkout(user, of_this.as_deref(), None).await });
    }
    let (mut orders, mut codes) = (BTreeSet::new(), BTreeSet::new());
    for outcome in running.join_all().await {
        match outcome {
            Ok(order) => drop(orders.insert(order.id)),
            Err(error) => drop(codes.insert(error.code())),
        }
    }
    (orders.len(), codes)
}

async fn assert_bought_once(shop: &TestShop, user: UserId, books: usize) {
    assert_eq!(shop.bought(user).await.len(), books);
    assert_eq!(shop.one.orders(user, None, 100).await.unwrap().len(), 1, "one order");
    assert_eq!(shop.payments().await.len(), 1, "one payment");
    assert!(shop.one.cart(user).await.unwrap().lines.is_empty());
}

async fn a_cart_is_bought_once_and_then_empty(shop: &TestShop) {
    let books = [shop.book("Emma", 1_299).await, shop.book("Persuasion", 1).await];
    let user = shop.shopper("ann", &books).await;
    let cart = shop.one.add_to_cart(user, books[0]).await.unwrap();
    assert_eq!((cart.lines.len(), cart.total), (2, Some(euro(1_300))));
    let order = shop.one.checkout(user, Some("one"), Some(euro(1_300))).await.unwrap();
    assert_eq!((order.status, order.total, order.lines.len()), (OrderStatus::Paid, euro(1_300), 2));
    assert_bought_once(shop, user, 2).await;

    let again = shop.other.checkout(user, Some("one"), None).await.unwrap();
    let tapped = shop.other.checkout(user, None, None).await.unwrap();
    assert_eq!((again.id, tapped.id), (order.id, order.id));
    assert_eq!(code(shop.one.checkout(user, Some("two"), None).await), Some("cart_empty"));
    assert_eq!(code(shop.other.add_to_cart(user, books[1]).await), Some("already_owned"));
    shop.clock.advance(Duration::from_secs(120));
    assert_eq!(code(shop.one.checkout(user, None, None).await), Some("cart_empty"));
}

async fn checkouts_at_once_with_one_key_are_one_order(shop: &TestShop) {
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    let (orders, codes) = at_once(shop, user, |_| Some("key".to_owned())).await;
    assert_eq!((orders, codes), (1, BTreeSet::new()));
    assert_bought_once(shop, user, 1).await;
}

async fn checkouts_at_once_with_many_keys_are_one_order(shop: &TestShop) {
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    let (orders, codes) = at_once(shop, user, |n| Some(format!("key {n}"))).await;
    // Those that come after it was paid find an empty cart.
    assert_eq!(orders, 1);
    assert!(codes.is_subset(&BTreeSet::from(["cart_empty"])), "{codes:?}");
    assert_bought_once(shop, user, 1).await;
}

async fn checkouts_at_once_without_a_key_are_one_order(shop: &TestShop) {
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    let (orders, codes) = at_once(shop, user, |_| None).await;
    assert_eq!((orders, codes), (1, BTreeSet::new()));
    assert_bought_once(shop, user, 1).await;
}

async fn a_changed_price_is_told_before_it_is_paid(shop: &TestShop) {
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    let change = BookFields { price: Some(euro(1_999)), ..BookFields::default() };
    shop.one.change_book(book, change, None, &shop.actor).await.unwrap();
    let refused = shop.other.checkout(user, None, None).await.unwrap_err();
    assert_eq!(refused, ShopError::PriceChanged(euro(1_999)));
    assert!(refused.to_string().contains("19.99 EUR"), "{refused}");
    assert!(shop.payments().await.is_empty());
    assert_eq!(code(shop.other.checkout(user, None, Some(euro(999))).await), Some("price_changed"));
    assert_eq!(shop.other.checkout(user, None, None).await.unwrap().total, euro(1_999));
}

async fn a_book_that_is_gone_is_named(shop: &TestShop) {
    let books = [shop.book("Emma", 999).await, shop.book("Persuasion", 999).await];
    let user = shop.shopper("ann", &books).await;
    shop.one.delete_book(books[0], &shop.actor).await.unwrap();
    let refused = shop.other.checkout(user, None, None).await.unwrap_err();
    assert_eq!(refused, ShopError::BookGone(vec![(books[0], "Emma".to_owned())]));
    let cart = shop.one.cart(user).await.unwrap();
    assert_eq!((cart.lines[0].price, cart.total), (None, Some(euro(999))));
    shop.one.remove_from_cart(user, books[0]).await.unwrap();
    shop.one.checkout(user, None, None).await.unwrap();
    assert_eq!(shop.bought(user).await, [books[1]]);
}

async fn a_declined_payment_leaves_the_cart_to_try_again(shop: &TestShop) {
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.payments.behave(MockBehaviour::Decline);
    for _ in 0..2 {
        assert_eq!(code(shop.one.checkout(user, Some("one"), None).await), Some("payment_declined"));
    }
    assert_eq!(code(shop.one.checkout(user, None, None).await), Some("payment_declined"));
    assert_eq!(shop.one.cart(user).await.unwrap().lines.len(), 1);
    shop.payments.behave(MockBehaviour::Pay);
    assert_eq!(
        code(shop.one.checkout(user, Some("one"), None).await),
        Some("payment_declined"),
        "a key has one answer"
    );
    shop.one.checkout(user, None, None).await.unwrap();
    let paid = shop.payments().await.into_iter().filter(|payment| payment.state == MockPaymentState::Paid).count();
    assert_eq!((paid, shop.bought(user).await.len()), (1, 1));
}

async fn a_cart_that_was_declined_often_can_still_be_bought(shop: &TestShop) {
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.payments.behave(MockBehaviour::Decline);
    for n in 0..20 {
        assert_eq!(code(shop.one.checkout(user, None, None).await), Some("payment_declined"), "{n}");
    }
    shop.payments.behave(MockBehaviour::Pay);
    shop.other.checkout(user, None, None).await.unwrap();
    assert_eq!(shop.bought(user).await, [book]);
}

async fn a_hanging_payment_is_joined_by_the_next_checkout(shop: &TestShop) {
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    for behaviour in [MockBehaviour::Hang, MockBehaviour::Fail, MockBehaviour::PayAndHang] {
        shop.payments.behave(behaviour);
        let refused = shop.hasty.checkout(user, Some("one"), None).await.unwrap_err();
        assert_eq!((refused.code(), refused.retry_after().is_some()), ("payment_pending", true), "{behaviour:?}");
    }
    shop.payments.behave(MockBehaviour::Pay);
    shop.other.checkout(user, Some("two"), None).await.unwrap();
    assert_bought_once(shop, user, 1).await;
    assert_eq!(shop.one.checkout(user, Some("one"), None).await.unwrap().status, OrderStatus::Paid);
}

async fn a_changed_cart_replaces_the_order_in_its_way(shop: &TestShop) {
    let books = [shop.book("Emma", 999).await, shop.book("Persuasion", 1).await];
    let user = shop.shopper("ann", &books[..1]).await;
    shop.payments.behave(MockBehaviour::Hang);
    assert_eq!(code(shop.hasty.checkout(user, Some("one"), None).await), Some("payment_pending"));
    shop.one.add_to_cart(user, books[1]).await.unwrap();
    assert_eq!(code(shop.hasty.checkout(user, Some("two"), None).await), Some("payment_pending"));
    shop.payments.behave(MockBehaviour::Pay);
    let order = shop.other.checkout(user, Some("two"), None).await.unwrap();
    assert_eq!(order.total, euro(1_000));
    assert_eq!(code(shop.one.checkout(user, Some("one"), None).await), Some("payment_declined"));
    let states: Vec<_> = shop.payments().await.into_iter().map(|payment| payment.state).collect();
    assert_eq!(states, [MockPaymentState::Cancelled, MockPaymentState::Paid]);
}

async fn a_free_book_needs_no_payment(shop: &TestShop) {
    let book = shop.book("Emma", 0).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.payments.behave(MockBehaviour::Fail);
    let order = shop.one.checkout(user, None, None).await.unwrap();
    assert_eq!((order.total, shop.bought(user).await), (euro(0), vec![book]));
    assert!(shop.payments().await.is_empty());
    assert_eq!(shop.one.refund(order.id, "", &shop.actor).await.unwrap().status, OrderStatus::Refunded);
}

async fn a_key_is_checked(shop: &TestShop) {
    let user = shop.user("ann").await;
    for key in ["", "tab\t", &"x".repeat(256)] {
        let refused = shop.one.checkout(user, Some(key), None).await.unwrap_err();
        assert_eq!(refused.field(), Some("idempotency_key"), "{key:?}");
    }
    assert_eq!(code(shop.one.checkout(user, Some("a"), None).await), Some("cart_empty"));
    assert_eq!(code(shop.one.checkout(UserId::now(), Some("a"), None).await), Some("no_user"));
}

async fn a_lower_price_replaces_the_order_in_its_way(shop: &TestShop) {
    let book = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[book]).await;
    shop.payments.behave(MockBehaviour::Hang);
    assert_eq!(code(shop.hasty.checkout(user, None, None).await), Some("payment_pending"));
    shop.payments.behave(MockBehaviour::Pay);
    let change = BookFields { price: Some(euro(500)), ..BookFields::default() };
    shop.one.change_book(book, change, None, &shop.actor).await.unwrap();
    let cart = shop.one.cart(user).await.unwrap();
    assert_eq!((cart.total, cart.lines[0].price_before), (Some(euro(500)), Some(euro(999))));
    assert_eq!(shop.other.checkout(user, None, None).await.unwrap().total, euro(500));
    assert_eq!(shop.bought(user).await, [book]);
}
