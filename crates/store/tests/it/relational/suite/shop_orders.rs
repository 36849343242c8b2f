//! Carts, orders, payments, refunds.

use contracts::{BookId, BookStatus, Money, OrderId, OrderStatus, UserId};
use futures::future::join_all;
use jiff::SignedDuration;
use store::Relational;
use store::relational::{
    AccessChange, BookChange, CartOutcome, CartRecord, MAX_CART_LINES, MockPaymentRecord, MockPaymentState, NewBook,
    NewOrder, OpenOrderOutcome, OrderRecord, PaymentRecord, RefundOutcome, SettleOutcome,
};

use super::shop_books::{entry, euros, put, sell, stored, titled};
use crate::relational::{TwoStores, add, later, now};

pub fn payment(order: &OrderRecord) -> PaymentRecord {
    PaymentRecord {
        provider: "mock".to_owned(),
        reference: format!("mock-{}", order.id),
        amount: order.total,
        paid_at: now(),
    }
}

pub async fn fill(store: &Relational, user: UserId, books: &[BookId]) -> CartRecord {
    let mut cart = store.cart(user).await.unwrap();
    for book in books {
        let outcome = store.put_cart_line(user, *book, now()).await.unwrap();
        let CartOutcome::Stored(filled) = outcome else { unreachable!("it is in the cart: {outcome:?}") };
        cart = filled;
    }
    cart
}

async fn open_with(store: &Relational, user: UserId, key: &str, seen_total: Option<Money>) -> OpenOrderOutcome {
    store.open_order(&NewOrder { id: OrderId::now(), user, key, seen_total }, now()).await.unwrap()
}

pub async fn open(store: &Relational, user: UserId, key: &str) -> OrderRecord {
    let outcome = open_with(store, user, key, None).await;
    let OpenOrderOutcome::Opened(order) = outcome else { unreachable!("it is open: {outcome:?}") };
    order
}

pub async fn settle(store: &Relational, order: &OrderRecord) -> OrderRecord {
    let outcome = store.settle_order(order.id, &payment(order), now()).await.unwrap();
    let SettleOutcome::Settled(paid) = outcome else { unreachable!("it is paid: {outcome:?}") };
    paid
}

/// Buys books with an order of their own.
pub async fn buy(two: &TwoStores, user: UserId, books: &[BookId]) -> OrderRecord {
    fill(&two.one, user, books).await;
    let order = open(&two.other, user, &OrderId::now().to_string()).await;
    settle(&two.one, &order).await
}

pub async fn refund(store: &Relational, order: OrderId) -> RefundOutcome {
    store.begin_refund(order, "asked for", &entry("order_refunded"), now()).await.unwrap()
}

async fn owned(store: &Relational, user: UserId) -> Vec<String> {
    let purchases = store.purchases(user, None, 50).await.unwrap();
    let mut titles: Vec<String> = purchases.into_iter().map(|purchase| purchase.book.title).collect();
    titles.sort();
    titles
}

pub async fn of_many_checkouts_one_order_is_opened_and_paid(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let books = [sell(&two.one, "Emma").await.id, sell(&two.one, "Persuasion").await.id];
    fill(&two.one, user, &books).await;
    let checkouts = (0..100).map(|number| async move {
        let store = if number % 2 == 0 { &two.one } else { &two.other };
        let key = if number % 3 == 0 { format!("key-{number}") } else { "same".to_owned() };
        match open_with(store, user, &key, Some(euros(2_598))).await {
            OpenOrderOutcome::Opened(order) | OpenOrderOutcome::Existing(order) | OpenOrderOutcome::Pending(order) => {
                let settled = store.settle_order(order.id, &payment(&order), now()).await.unwrap();
                let (SettleOutcome::Settled(paid) | SettleOutcome::Already(paid)) = settled else {
                    unreachable!("it is paid: {settled:?}")
                };
                assert_eq!((paid.status, paid.lines.len()), (OrderStatus::Paid, 2));
                Some(paid.id)
            }
            OpenOrderOutcome::Empty => None,
            other => unreachable!("nothing else is in the way: {other:?}"),
        }
    });
    let ids: Vec<OrderId> = join_all(checkouts).await.into_iter().flatten().collect();
    let orders = two.other.orders(user, None, 50).await.unwrap();
    assert_eq!(orders.len(), 1, "{orders:?}");
    assert!(!ids.is_empty() && ids.iter().all(|id| *id == orders[0].id), "{ids:?}");
    assert_eq!(orders[0].payment, Some(("mock".to_owned(), format!("mock-{}", orders[0].id))));
    assert_eq!(owned(&two.one, user).await, ["Emma", "Persuasion"]);
    let cart = two.one.cart(user).await.unwrap();
    assert_eq!((cart.lines, cart.version), (Vec::new(), 3), "two books came, and went together");
}

pub async fn a_paid_order_reads_back_as_it_was_opened(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (emma, susan) = (sell(&two.one, "Emma").await, sell(&two.one, "Lady Susan").await);
    let cart = fill(&two.one, user, &[emma.id, susan.id, emma.id]).await;
    assert_eq!((cart.lines.len(), cart.version, cart.total()), (2, 2, Some(euros(2_598))));
    let opened = open(&two.one, user, "a").await;
    assert_eq!((opened.status, opened.total, opened.cart_version), (OrderStatus::Pending, euros(2_598), 2));
    assert_eq!(two.other.order_of_key(user, "a").await.unwrap().as_ref(), Some(&opened));
    assert_eq!(two.other.pending_order(user).await.unwrap().as_ref(), Some(&opened));
    assert_eq!(two.other.cart(user).await.unwrap(), cart, "the cart stays until it is paid");
    assert!(!two.other.entitled(user, emma.id).await.unwrap());

    let dearer = BookChange { price: Some(Some(euros(9_999))), title: Some("Emma!".to_owned()), ..Default::default() };
    stored(two.one.change_book(emma.id, None, &dearer, None, now()).await.unwrap());
    let late = sell(&two.one, "Sanditon").await.id;
    fill(&two.one, user, &[late]).await;
    let paid = settle(&two.one, &opened).await;

    assert_eq!(paid.status, OrderStatus::Paid);
    assert!(paid.paid_at.is_some());
    assert_eq!((&paid.lines, paid.total, paid.created_at), (&opened.lines, opened.total, opened.created_at));
    let titles: Vec<_> = paid.lines.iter().map(|line| (line.title.as_str(), line.price)).collect();
    assert_eq!(titles, [("Emma", euros(1_299)), ("Lady Susan", euros(1_299))]);
    assert_eq!(two.other.order(opened.id).await.unwrap(), Some(paid.clone()));
    assert_eq!(two.other.pending_order(user).await.unwrap(), None);
    let again = two.other.settle_order(paid.id, &payment(&paid), now()).await.unwrap();
    assert_eq!(again, SettleOutcome::Already(paid.clone()));
    assert_eq!(open_with(&two.other, user, "a", None).await, OpenOrderOutcome::Existing(paid.clone()));
    let cart = two.other.cart(user).await.unwrap();
    assert_eq!(cart.lines.iter().map(|line| line.book.id).collect::<Vec<_>>(), [late], "what came later stays");

    let purchases = two.other.purchases(user, None, 1).await.unwrap();
    let rest = two.other.purchases(user, Some(&purchases[0].cursor()), 50).await.unwrap();
    let mut bought: Vec<_> = [purchases, rest].concat();
    bought.sort_by(|one, other| one.book.title.cmp(&other.book.title));
    let bought: Vec<_> = bought.iter().map(|one| (one.order, one.book.title.as_str(), one.price)).collect();
    assert_eq!(bought, [(paid.id, "Emma!", euros(1_299)), (paid.id, "Lady Susan", euros(1_299))]);
    let all = [emma.id, late, susan.id];
    assert_eq!(two.one.entitled_to(user, &all).await.unwrap().into_iter().collect::<Vec<_>>(), [emma.id, susan.id]);
}

pub async fn what_cannot_be_sold_is_refused_and_stays_in_the_cart(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let emma = sell(&two.one, "Emma").await.id;
    let draft = put(&two.one, &NewBook { status: BookStatus::Draft, ..titled("Draft") }).await.id;
    let free_of_price = put(&two.one, &NewBook { price: None, ..titled("Without a price") }).await.id;
    let dollars = Money { minor: 100, currency: "USD".parse().unwrap() };
    let foreign = put(&two.one, &NewBook { price: Some(dollars), ..titled("Foreign") }).await.id;
    assert_eq!(open_with(&two.one, user, "a", None).await, OpenOrderOutcome::Empty);
    for book in [draft, free_of_price, BookId::now()] {
        assert_eq!(two.one.put_cart_line(user, book, now()).await.unwrap(), CartOutcome::NotForSale);
    }
    fill(&two.one, user, &[emma]).await;
    let mixed = two.one.put_cart_line(user, foreign, now()).await.unwrap();
    assert_eq!(mixed, CartOutcome::MixedCurrency(euros(0).currency));

    let susan = sell(&two.one, "Lady Susan").await.id;
    fill(&two.one, user, &[susan]).await;
    let in_dollars = BookChange { price: Some(Some(dollars)), ..BookChange::default() };
    stored(two.one.change_book(susan, None, &in_dollars, None, now()).await.unwrap());
    assert_eq!(open_with(&two.one, user, "a", None).await, OpenOrderOutcome::MixedCurrency);
    assert_eq!(two.one.cart(user).await.unwrap().total(), None);
    stored(two.one.delete_book(susan, None, now()).await.unwrap());
    assert_eq!(open_with(&two.one, user, "a", None).await, OpenOrderOutcome::BookGone(vec![susan]));
    let cart = two.other.cart(user).await.unwrap();
    assert_eq!(
        cart.lines.iter().map(|line| line.book.status).collect::<Vec<_>>(),
        [BookStatus::Ready, BookStatus::Deleted]
    );
    let left = two.one.remove_cart_line(user, susan).await.unwrap();
    assert_eq!((left.lines.len(), left.version), (1, 3));
    assert_eq!(two.other.remove_cart_line(user, susan).await.unwrap(), left, "again: the same");

    settle(&two.one, &open(&two.one, user, "b").await).await;
    assert_eq!(two.other.put_cart_line(user, emma, now()).await.unwrap(), CartOutcome::Owned);
    let disabled = AccessChange { disabled: Some(true), ..AccessChange::default() };
    assert!(two.one.change_access(user, &disabled, now(), later()).await.unwrap());
    assert_eq!(two.other.put_cart_line(user, susan, now()).await.unwrap(), CartOutcome::NoUser);
    assert_eq!(open_with(&two.other, user, "c", None).await, OpenOrderOutcome::NoUser);
    assert_eq!(two.one.put_cart_line(UserId::now(), emma, now()).await.unwrap(), CartOutcome::NoUser);
    assert!(two.other.entitled(user, emma).await.unwrap() && !two.other.link_alive(user, emma).await.unwrap());
}

pub async fn a_cart_has_no_more_books_than_its_limit(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let mut books = Vec::new();
    for number in 0..=MAX_CART_LINES {
        books.push(sell(&two.one, &format!("Volume {number}")).await.id);
    }
    let further = books.pop().unwrap();
    let cart = fill(&two.one, user, &books).await;
    assert_eq!(cart.lines.iter().map(|line| line.book.id).collect::<Vec<_>>(), books);
    assert_eq!(two.other.put_cart_line(user, further, now()).await.unwrap(), CartOutcome::Full);
    assert_eq!(fill(&two.other, user, &books[..1]).await, cart, "what is there is there");
    assert_eq!(settle(&two.one, &open(&two.one, user, "a").await).await.lines.len(), MAX_CART_LINES);
}

pub async fn a_changed_price_is_told_before_it_is_paid(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (emma, susan) = (sell(&two.one, "Emma").await.id, sell(&two.one, "Lady Susan").await.id);
    fill(&two.one, user, &[emma, susan]).await;
    let price = async |minor| {
        let change = BookChange { price: Some(Some(euros(minor))), ..BookChange::default() };
        stored(two.other.change_book(emma, None, &change, None, now()).await.unwrap());
    };
    price(1_500).await;
    assert_eq!(open_with(&two.one, user, "a", None).await, OpenOrderOutcome::PriceChanged(euros(2_799)));
    price(1_000).await;
    let cart = two.one.cart(user).await.unwrap();
    assert_eq!((cart.lines[0].price_seen, cart.lines[0].book.price), (Some(euros(1_500)), Some(euros(1_000))));
    assert_eq!(open_with(&two.one, user, "a", Some(euros(2_799))).await, OpenOrderOutcome::PriceChanged(euros(2_299)));
    price(900).await;
    // A cart that is shown is seen, but not the price that comes after it.
    two.other.cart_seen(user, &two.other.cart(user).await.unwrap()).await.unwrap();
    let shown = two.one.cart(user).await.unwrap();
    assert_eq!((shown.lines[0].price_seen, shown.version), (Some(euros(900)), 2));
    let before = two.one.cart(user).await.unwrap();
    price(800).await;
    two.one.cart_seen(user, &before).await.unwrap();
    assert_eq!(open_with(&two.one, user, "a", None).await, OpenOrderOutcome::PriceChanged(euros(2_099)));
    assert_eq!(open(&two.one, user, "a").await.total, euros(2_099));
}

pub async fn a_user_has_one_pending_order(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (emma, susan) = (sell(&two.one, "Emma").await.id, sell(&two.one, "Lady Susan").await.id);
    fill(&two.one, user, &[emma]).await;
    let first = open(&two.one, user, "a").await;
    fill(&two.one, user, &[susan]).await;
    assert_eq!(open_with(&two.other, user, "b", None).await, OpenOrderOutcome::Pending(first.clone()));
    assert_eq!(two.other.unsettled_orders(later(), None, 50).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(two.other.unsettled_orders(first.created_at, None, 50).await.unwrap(), []);

    assert!(two.other.decline_order(first.id, "no money").await.unwrap());
    assert!(!two.one.decline_order(first.id, "again").await.unwrap());
    let declined = two.one.order(first.id).await.unwrap().unwrap();
    assert_eq!((declined.status, declined.why.as_deref()), (OrderStatus::Declined, Some("no money")));
    assert_eq!(
        two.one.settle_order(first.id, &payment(&first), now()).await.unwrap(),
        SettleOutcome::Declined(declined.clone())
    );
    assert_eq!(open_with(&two.one, user, "a", None).await, OpenOrderOutcome::Existing(declined));
    assert_eq!(owned(&two.one, user).await, Vec::<String>::new());
    // The cart is as it was, and another key buys it.
    let second = open(&two.one, user, "b").await;
    assert_eq!(second.lines.len(), 2);
    let other = PaymentRecord { amount: euros(1), ..payment(&second) };
    assert_eq!(
        two.one.settle_order(second.id, &other, now()).await.unwrap(),
        SettleOutcome::WrongAmount(second.clone())
    );
    settle(&two.one, &second).await;
    assert!(!two.one.decline_order(second.id, "late").await.unwrap());
    let ids: Vec<_> = two.one.orders(user, None, 50).await.unwrap().into_iter().map(|order| order.id).collect();
    assert_eq!(ids, [second.id, first.id]);
    let after =
        two.one.orders(user, Some(&two.one.order(second.id).await.unwrap().unwrap().cursor()), 50).await.unwrap();
    assert_eq!(after.into_iter().map(|order| order.id).collect::<Vec<_>>(), [first.id]);
}

pub async fn a_payment_is_that_of_one_order(two: &TwoStores) {
    let (ann, ben) = (add(&two.one, "ann").await, add(&two.one, "ben").await);
    let emma = sell(&two.one, "Emma").await.id;
    let of_ann = buy(two, ann, &[emma]).await;
    fill(&two.one, ben, &[emma]).await;
    let of_ben = open(&two.one, ben, "a").await;
    let refused = two.other.settle_order(of_ben.id, &payment(&of_ann), now()).await.unwrap_err().to_string();
    assert!(refused.contains("another order"), "{refused}");
    assert!(!two.other.entitled(ben, emma).await.unwrap());
    assert_eq!(two.other.order(of_ben.id).await.unwrap().unwrap().status, OrderStatus::Pending);
    let nobodys = two.other.settle_order(OrderId::now(), &payment(&of_ann), now()).await.unwrap();
    assert_eq!(nobodys, SettleOutcome::Unknown);
}

pub async fn a_refund_takes_the_books_back_once(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let (emma, susan) = (sell(&two.one, "Emma").await.id, sell(&two.one, "Lady Susan").await.id);
    let first = buy(two, user, &[emma]).await;
    let second = buy(two, user, &[susan]).await;
    assert!(two.one.link_alive(user, emma).await.unwrap());

    let RefundOutcome::Begun(begun) = refund(&two.one, first.id).await else { unreachable!("it was paid") };

    assert_eq!(begun.status, OrderStatus::Refunding);
    assert!(!two.other.entitled(user, emma).await.unwrap() && !two.other.link_alive(user, emma).await.unwrap());
    assert_eq!(owned(&two.other, user).await, ["Lady Susan"]);
    assert_eq!(refund(&two.other, first.id).await, RefundOutcome::Already(begun.clone()));
    assert_eq!(two.other.audit_log(None, None, 50).await.unwrap().len(), 1, "an entry for the one that counted");
    assert_eq!(two.other.unfinished_refunds(later(), None, 50).await.unwrap(), [begun]);
    for _ in 0..2 {
        assert!(two.other.end_refund(first.id, Some("back-1"), now()).await.unwrap());
    }
    assert_eq!(two.other.unfinished_refunds(later(), None, 50).await.unwrap(), []);
    let done = two.one.order(first.id).await.unwrap().unwrap();
    assert!(done.status == OrderStatus::Refunded && done.refunded_at.is_some(), "{done:?}");
    assert_eq!(two.one.settle_order(first.id, &payment(&first), now()).await.unwrap(), SettleOutcome::Already(done));
    assert!(!two.one.end_refund(second.id, None, now()).await.unwrap(), "nobody began it");
    assert_eq!(refund(&two.one, OrderId::now()).await, RefundOutcome::Unknown);

    // It can be bought again.
    let third = buy(two, user, &[emma]).await;
    assert_eq!(owned(&two.other, user).await, ["Emma", "Lady Susan"]);
    fill(&two.one, user, &[sell(&two.one, "Sanditon").await.id]).await;
    let pending = open(&two.one, user, "a").await;
    assert_eq!(refund(&two.one, pending.id).await, RefundOutcome::NotPaid(pending));
    assert_ne!(third.id, first.id);
}

pub async fn of_many_refunds_of_an_order_one_begins(two: &TwoStores) {
    let user = add(&two.one, "ann").await;
    let order = buy(two, user, &[sell(&two.one, "Emma").await.id]).await;
    let refunds = (0..20).map(|number| refund(if number % 2 == 0 { &two.one } else { &two.other }, order.id));
    let outcomes = join_all(refunds).await;
    let begun = outcomes.iter().filter(|outcome| matches!(outcome, RefundOutcome::Begun(_))).count();
    assert_eq!((begun, outcomes.len()), (1, 20));
    assert_eq!(owned(&two.other, user).await, Vec::<String>::new());
}

pub async fn the_books_of_the_mock_have_one_payment_for_a_key(two: &TwoStores) {
    let keys: Vec<OrderId> = (0..3).map(|_| OrderId::now()).collect();
    let paid = |key: OrderId, state| MockPaymentRecord {
        key,
        reference: format!("mock-{key}-{state:?}"),
        state,
        amount: euros(5),
        at: now(),
        refunded_at: None,
    };
    let first = paid(keys[0], MockPaymentState::Paid);
    assert_eq!(two.one.mock_pay(&first).await.unwrap(), first);
    assert_eq!(two.other.mock_pay(&paid(keys[0], MockPaymentState::Cancelled)).await.unwrap(), first);
    let cancelled = paid(keys[1], MockPaymentState::Cancelled);
    assert_eq!(two.one.mock_pay(&cancelled).await.unwrap(), cancelled);
    assert_eq!(two.other.mock_pay(&paid(keys[1], MockPaymentState::Paid)).await.unwrap(), cancelled);
    let attempts = (0..20).map(|number| {
        let store = if number % 2 == 0 { &two.one } else { &two.other };
        let payment = MockPaymentRecord { reference: number.to_string(), ..paid(keys[2], MockPaymentState::Paid) };
        async move { store.mock_pay(&payment).await.unwrap().reference }
    });
    let references = join_all(attempts).await;
    assert!(references.iter().all(|reference| *reference == references[0]), "{references:?}");

    let at = now() + SignedDuration::from_secs(1);
    assert!(two.one.mock_refund(&first.reference, at).await.unwrap());
    assert!(two.other.mock_refund(&first.reference, later()).await.unwrap(), "again: the same");
    assert!(!two.other.mock_refund(&cancelled.reference, at).await.unwrap());
    assert!(!two.other.mock_refund("nobody's", at).await.unwrap());
    let back = two.other.mock_payment(keys[0]).await.unwrap().unwrap();
    assert_eq!((back.state, back.refunded_at), (MockPaymentState::Refunded, Some(at)));
    let listed = two.other.mock_payments(None, 1).await.unwrap();
    let rest = two.other.mock_payments(Some(listed[0].key), 50).await.unwrap();
    let listed: Vec<OrderId> = listed.into_iter().chain(rest).map(|payment| payment.key).collect();
    assert_eq!(listed, keys);
    assert_eq!(two.one.mock_payment(OrderId::now()).await.unwrap(), None);
}
