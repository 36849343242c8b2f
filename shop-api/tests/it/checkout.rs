//! The cart, its checkout and refunds, in both protocols.

use std::collections::BTreeSet;

use contracts::BookId;
use reqwest::Method;
use serde_json::{Value, json};
use shop_api::proto::shop_v1::{
    AddToCartRequest, DeleteAudiobookRequest, GetOrderRequest, ListKeptOrdersRequest, ListOrdersRequest, OrderStatus,
    RefundRequest, RemoveFromCartRequest, UpdateAudiobookRequest,
};
use tonic::Code;

use crate::both::{Both, Refusal, answer, as_json, denied, of_problem, of_status, on_sale, refusal};
use crate::test_service::{ADMIN_TOKEN, TestShop};

/// A shop, a user, and books of these prices in its cart.
async fn with_cart(prices: &[i64]) -> (TestShop, Both, Vec<BookId>) {
    let shop = TestShop::start().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let mut books = Vec::new();
    for (number, minor) in prices.iter().enumerate() {
        let book = on_sale(&shop.database, &format!("Volume {number}"), *minor).await;
        assert_eq!(ann.put(&format!("/v1/cart/{book}")).await.0, 200);
        books.push(book);
    }
    (shop, ann, books)
}

async fn change_price(admin: &Both, book: BookId, minor: i64) {
    let audiobook_id = book.to_string();
    let change = UpdateAudiobookRequest { audiobook_id, price_cents: Some(minor), ..Default::default() };
    admin.admin().update_audiobook(admin.call(change)).await.unwrap();
}

#[tokio::test]
async fn the_cart_is_the_same_in_both_protocols() {
    let (shop, ann, books) = with_cart(&[1_299, 500]).await;
    let add = AddToCartRequest { audiobook_id: books[0].to_string() };
    let again = ann.shop().add_to_cart(ann.call(add)).await.unwrap().into_inner();
    let cart = ann.get("/v1/cart").await;
    let message = ann.shop().view_cart(ann.call(())).await.unwrap().into_inner();
    assert_eq!(again, message, "a book is in the cart once");
    assert_eq!(cart["total"], json!({"minor": 1_799, "currency": "EUR"}));
    assert_eq!((message.subtotal_cents, message.currency.as_str()), (1_799, "EUR"));
    assert_eq!(cart["version"], json!(message.version));
    let items = cart["items"].as_array().unwrap();
    assert_eq!(items.len(), message.items.len());
    for (item, sent) in items.iter().zip(&message.items) {
        assert_eq!(item["book"], as_json(sent.book.as_ref().unwrap()));
        assert_eq!((item["price"]["minor"].as_i64(), item.get("price_before")), (Some(sent.line_subtotal_cents), None));
    }
    let remove = || RemoveFromCartRequest { audiobook_id: books[0].to_string() };
    for _ in 0..2 {
        let left = ann.shop().remove_from_cart(ann.call(remove())).await.unwrap().into_inner();
        assert_eq!((left.items.len(), left.subtotal_cents), (1, 500));
    }
    let (status, empty) = ann.send(Method::DELETE, &format!("/v1/cart/{}", books[1]), None).await;
    assert_eq!((status, &empty["items"], empty.get("total")), (200, &json!([]), None));
    let bob = Both::of(&shop, &shop.user("bob").await.access_token);
    assert_eq!(bob.get("/v1/cart").await["items"], json!([]), "a cart is that of its user");
    let bad = AddToCartRequest { audiobook_id: "1".to_owned() };
    assert_eq!(denied(ann.shop().add_to_cart(ann.call(bad)).await), (Code::InvalidArgument, "invalid".to_owned()));
    assert_eq!(ann.refused(Method::PUT, "/v1/cart/1", None).await.0, 422);
}

#[tokio::test]
async fn a_checkout_is_an_order_with_its_books() {
    let (_shop, ann, books) = with_cart(&[1_299, 500]).await;
    let order = ann.shop().checkout(ann.call(())).await.unwrap().into_inner();
    assert_eq!((order.total_cents, order.currency.as_str()), (1_799, "EUR"));
    // A second tap, in the other protocol, is the same order.
    let (status, again) = ann.send(Method::POST, "/v1/checkout", None).await;
    assert_eq!((status, &again["id"], &again["status"]), (200, &json!(order.order_id), &json!("paid")));
    assert_eq!(ann.get("/v1/cart").await["items"], json!([]));

    let listed = ann.get("/v1/orders").await;
    assert_eq!(listed["items"], json!([ann.get(&format!("/v1/orders/{}", order.order_id)).await]));
    let list = ListOrdersRequest::default();
    let messages = ann.shop().list_orders(ann.call(list)).await.unwrap().into_inner().items;
    let get = GetOrderRequest { order_id: order.order_id.clone() };
    let message = ann.shop().get_order(ann.call(get)).await.unwrap().into_inner().order.unwrap();
    assert_eq!(messages, std::slice::from_ref(&message));
    assert_eq!((message.status, message.total_cents), (OrderStatus::Paid.into(), 1_799));
    let lines: BTreeSet<_> = message.lines.iter().map(|line| (line.audiobook_id.clone(), line.price_cents)).collect();
    assert_eq!(lines, BTreeSet::from([(books[0].to_string(), 1_299), (books[1].to_string(), 500)]));

    let purchases = ann.get("/v1/purchases").await;
    let bought = ann.shop().list_purchases(ann.call(())).await.unwrap().into_inner().items;
    assert_eq!((purchases["items"].as_array().unwrap().len(), bought.len()), (2, 2));
    for (rest, message) in purchases["items"].as_array().unwrap().iter().zip(&bought) {
        assert_eq!(rest["order"], json!(message.order_id));
        assert_eq!(rest["book"], as_json(message.book.as_ref().unwrap()));
        assert_eq!(rest["book"]["owned"], json!(true));
        assert_eq!(rest["price"], json!({"minor": message.price_cents, "currency": message.currency}));
    }
    // Owned books cannot be added.
    let (status, by_rest) = ann.refused(Method::PUT, &format!("/v1/cart/{}", books[0]), None).await;
    let add = AddToCartRequest { audiobook_id: books[0].to_string() };
    let refused = ann.shop().add_to_cart(ann.call(add)).await.unwrap_err();
    assert_eq!((status, refused.code()), (409, Code::AlreadyExists));
    assert_eq!((by_rest.code.as_str(), &of_status(&refused)), ("already_owned", &by_rest));
}

#[tokio::test]
async fn a_changed_price_is_told_with_the_new_total() {
    let (shop, ann, books) = with_cart(&[1_299, 500]).await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let total = |minor: &str| {
        [("currency", "EUR"), ("total_minor", minor)].map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    };
    change_price(&admin, books[0], 1_499).await;
    let refused = ann.shop().checkout(ann.call(())).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let by_grpc = of_status(&refused);
    assert_eq!((by_grpc.code.as_str(), by_grpc.facts.clone()), ("price_changed", total("1999")));
    assert!(by_grpc.text.contains("19.99 EUR"), "{}", by_grpc.text);

    // It is told: the next change is one of its own.
    change_price(&admin, books[1], 700).await;
    let (status, by_rest) = ann.refused(Method::POST, "/v1/checkout", None).await;
    assert_eq!((status, by_rest.code.as_str(), by_rest.facts.clone()), (409, "price_changed", total("2199")));
    // What the client has seen counts more than what was shown last.
    let seen = json!({"expected_total": {"minor": 1_999, "currency": "EUR"}});
    let (_, by_rest) = ann.refused(Method::POST, "/v1/checkout", Some(seen)).await;
    assert_eq!((by_rest.code.as_str(), by_rest.facts), ("price_changed", total("2199")));
    let stale = ann.call_with((), "expected-total-cents", "1999");
    assert_eq!(refusal(ann.shop().checkout(stale).await).facts, total("2199"));
    assert_eq!(ann.get("/v1/orders").await["items"], json!([]), "nothing was ordered");

    let agreed = ann.call_with((), "expected-total-cents", "2199");
    assert_eq!(ann.shop().checkout(agreed).await.unwrap().into_inner().total_cents, 2_199);
    let order = &ann.get("/v1/orders").await["items"][0];
    change_price(&admin, books[0], 1).await;
    assert_eq!(order["total"]["minor"], json!(2_199), "an order keeps its prices");
}

#[tokio::test]
async fn a_deleted_book_in_the_cart_is_named() {
    let (shop, ann, books) = with_cart(&[1_299, 500]).await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    for _ in 0..2 {
        let delete = DeleteAudiobookRequest { audiobook_id: books[0].to_string() };
        admin.admin().delete_audiobook(admin.call(delete)).await.unwrap();
        assert_eq!(admin.send(Method::DELETE, &format!("/v1/books/{}", books[0]), None).await.0, 204);
    }
    let (status, by_rest) = ann.refused(Method::POST, "/v1/checkout", None).await;
    let refused = ann.shop().checkout(ann.call(())).await.unwrap_err();
    assert_eq!((status, refused.code()), (409, Code::FailedPrecondition));
    assert_eq!((by_rest.code.as_str(), &of_status(&refused)), ("book_gone", &by_rest));
    assert!(by_rest.text.contains("Volume 0"), "{}", by_rest.text);
    let cart = ann.get("/v1/cart").await;
    assert_eq!((cart["items"][0].get("price"), &cart["total"]["minor"]), (None, &json!(500)));
    ann.send(Method::DELETE, &format!("/v1/cart/{}", books[0]), None).await;
    assert_eq!(ann.shop().checkout(ann.call(())).await.unwrap().into_inner().total_cents, 500);
}

#[tokio::test]
async fn a_bad_checkout_is_refused_in_both_protocols() {
    let shop = TestShop::start().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let (status, by_rest) = ann.refused(Method::POST, "/v1/checkout", None).await;
    let by_grpc = refusal(ann.shop().checkout(ann.call(())).await);
    assert_eq!((status, by_rest.code.as_str(), &by_grpc), (409, "cart_empty", &by_rest));
    for key in ["", " \t", &"k".repeat(256)] {
        let request = ann.request(Method::POST, "/v1/checkout").header("idempotency-key", key);
        let (status, problem) = answer(request.send().await.unwrap()).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid")), "{key:?}");
        let refused = denied(ann.shop().checkout(ann.call_with((), "idempotency-key", key)).await);
        assert_eq!(refused, (Code::InvalidArgument, "invalid".to_owned()), "{key:?}");
    }
    for body in [json!({"expected_total": 5}), json!({"total": 5}), json!([])] {
        assert_eq!(ann.refused(Method::POST, "/v1/checkout", Some(body.clone())).await.0, 422, "{body}");
    }
    let bad = denied(ann.shop().checkout(ann.call_with((), "expected-total-cents", "12.99")).await);
    assert_eq!(bad, (Code::InvalidArgument, "invalid".to_owned()));
    // The operator's own token belongs to nobody who could own a book.
    let operator = Both::of(&shop, ADMIN_TOKEN);
    let (status, by_rest) = operator.refused(Method::POST, "/v1/checkout", None).await;
    assert_eq!((status, by_rest.code.as_str()), (403, "no_user"));
    assert_eq!(refusal(operator.shop().checkout(operator.call(())).await), by_rest);
}

/// One checkout of many: the id of its order, or its refusal.
async fn check_out(ann: Both, number: usize) -> Result<String, Refusal> {
    let key = match number % 4 {
        0 => None,
        1 | 2 => Some("the same".to_owned()),
        _ => Some(format!("key {number}")),
    };
    if number.is_multiple_of(2) {
        let request = match &key {
            Some(key) => ann.call_with((), "idempotency-key", key),
            None => ann.call(()),
        };
        let order = ann.shop().checkout(request).await.map_err(|status| of_status(&status))?;
        return Ok(order.into_inner().order_id);
    }
    let request = ann.request(Method::POST, "/v1/checkout");
    let request = match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    };
    let (status, body) = answer(request.send().await.unwrap()).await;
    if status == 200 { Ok(body["id"].as_str().unwrap().to_owned()) } else { Err(of_problem(&body)) }
}

#[tokio::test]
async fn a_hundred_checkouts_at_once_are_one_order() {
    let (shop, ann, books) = with_cart(&[1_299, 500, 700]).await;
    let tasks: Vec<_> = (0..100).map(|number| tokio::spawn(check_out(ann.clone(), number))).collect();
    let mut orders = BTreeSet::new();
    for task in tasks {
        match task.await.unwrap() {
            Ok(order) => _ = orders.insert(order),
            // Those that came after the order, with a key of their own, find an empty cart; others are asked to repeat.
            Err(Refusal { code, text, .. }) => {
                let expected = ["cart_empty", "checkout_running", "payment_pending"];
                assert!(expected.contains(&code.as_str()), "{code}: {text}");
            }
        }
    }
    assert_eq!(orders.len(), 1, "{orders:?}");
    let listed = ann.get("/v1/orders").await;
    let order = &listed["items"][0];
    assert_eq!((listed["items"].as_array().unwrap().len(), &order["status"]), (1, &json!("paid")));
    assert_eq!(order["total"]["minor"], json!(2_499));
    let purchases = ann.get("/v1/purchases").await;
    let items = purchases["items"].as_array().unwrap();
    let owned: BTreeSet<String> = items.iter().map(|item| item["book"]["id"].as_str().unwrap().to_owned()).collect();
    let expected: BTreeSet<String> = books.iter().map(ToString::to_string).collect();
    assert_eq!((items.len(), owned), (3, expected));
    assert_eq!(shop.database.mock_payments(None, 10).await.unwrap().len(), 1, "the provider was paid once");
    // The key of the order stays that of the order.
    let request = ann.call_with((), "idempotency-key", "the same");
    match ann.shop().checkout(request).await {
        Ok(again) => assert!(orders.contains(&again.into_inner().order_id)),
        Err(status) => assert_eq!(of_status(&status).code, "cart_empty", "no request with this key came first"),
    }
}

#[tokio::test]
async fn a_refund_takes_the_books_back_at_once() {
    let (shop, ann, books) = with_cart(&[1_299]).await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let order_id = ann.shop().checkout(ann.call(())).await.unwrap().into_inner().order_id;
    let path = format!("/v1/books/{}/position", books[0]);
    let position = json!({"position_ms": 5});
    assert_eq!(ann.send(Method::PUT, &path, Some(position.clone())).await.0, 200);
    let refund = RefundRequest { order_id: order_id.clone(), reason: "does not like it".to_owned() };
    let by_user = denied(ann.admin().refund(ann.call(refund.clone())).await);
    assert_eq!(by_user, (Code::PermissionDenied, "forbidden".to_owned()));
    let refunded = admin.admin().refund(admin.call(refund)).await.unwrap().into_inner().order.unwrap();
    assert_eq!(refunded.status, i32::from(OrderStatus::Refunded));
    let refused = ann.refused(Method::PUT, &path, Some(position)).await;
    assert_eq!((refused.0, refused.1.code.as_str()), (403, "not_bought"));
    assert_eq!(ann.get("/v1/purchases").await["items"], json!([]));

    let again = format!("/v1/orders/{order_id}/refund");
    let (status, order) = admin.send(Method::POST, &again, Some(json!({"reason": "again"}))).await;
    assert_eq!((status, &order["status"]), (200, &json!("refunded")));
    assert_eq!(ann.get(&format!("/v1/orders/{order_id}")).await, order);
    let unknown = format!("/v1/orders/{}/refund", BookId::now());
    let refused = admin.refused(Method::POST, &unknown, Some(json!({"reason": ""}))).await;
    assert_eq!((refused.0, refused.1.code.as_str()), (404, "not_found"));
    let long = json!({"reason": "x".repeat(301)});
    assert_eq!(admin.refused(Method::POST, &again, Some(long)).await.0, 422);
    // The book can be bought again.
    assert_eq!(ann.put(&format!("/v1/cart/{}", books[0])).await.0, 200);
}

#[tokio::test]
async fn the_orders_of_a_deleted_user_are_kept_without_it() {
    let shop = TestShop::start().await;
    let user = shop.user("ann").await;
    let ann = Both::of(&shop, &user.access_token);
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let book = on_sale(&shop.database, "Emma", 1_299).await;
    ann.put(&format!("/v1/cart/{book}")).await;
    let order = ann.shop().checkout(ann.call(())).await.unwrap().into_inner();
    let kept = "/v1/kept-orders";
    assert_eq!(admin.get(kept).await["items"], json!([]));
    let now = jiff::Timestamp::now();
    assert!(shop.database.delete_user(user.id, now, now).await.unwrap());

    let items = admin.get(kept).await["items"].clone();
    let list = ListKeptOrdersRequest::default();
    let messages = admin.admin().list_kept_orders(admin.call(list)).await.unwrap().into_inner().items;
    assert_eq!((items.as_array().unwrap().len(), messages.len()), (1, 1));
    assert_eq!((&items[0]["id"], &messages[0].id), (&json!(order.order_id), &order.order_id));
    assert_eq!((&items[0]["total"]["minor"], messages[0].total_cents), (&json!(1_299), 1_299));
    assert_eq!((&items[0]["lines"][0]["title"], messages[0].lines[0].title.as_str()), (&json!("Emma"), "Emma"));
    let text = items.to_string();
    assert!(!text.contains(&user.id.to_string()) && !text.contains("ann"), "{text}");
    let refused: (u16, Value) =
        Both::of(&shop, &shop.user("bob").await.access_token).send(Method::GET, kept, None).await;
    assert_eq!((refused.0, &refused.1["code"]), (403, &json!("forbidden")));
}
