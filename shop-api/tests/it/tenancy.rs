//! What belongs to a user is that user's: every route with an id responds to another user as to an unknown id.

use std::collections::BTreeMap;

use contracts::{BookId, BookStatus};
use reqwest::Method;
use serde_json::json;

use crate::both::{Both, Refusal, of_problem, on_sale, shelve};
use crate::test_service::TestShop;

/// Routes of admins, which refuse a user before they look at the id.
const OF_ADMINS: [(&str, &str); 14] = [
    ("patch", "/v1/books/{id}"),
    ("delete", "/v1/books/{id}"),
    ("post", "/v1/books/{id}/publish"),
    ("post", "/v1/books/{id}/hide"),
    ("post", "/v1/books/{id}/upload"),
    ("post", "/v1/books/{id}/pipeline"),
    ("get", "/v1/books/{id}/pipeline"),
    ("get", "/v1/books/{id}/pipeline/events"),
    ("put", "/v1/books/{id}/cover"),
    ("delete", "/v1/books/{id}/cover"),
    ("post", "/v1/orders/{id}/refund"),
    ("put", "/v1/categories/{slug}"),
    ("delete", "/v1/categories/{slug}"),
    ("post", "/v1/providers/{name}/{action}"),
];

/// Routes of users with the id of a book.
const OF_BOOKS: [&str; 10] = [
    "/v1/books/{id}",
    "/v1/books/{id}/download",
    "/v1/books/{id}/position",
    "/v1/books/{id}/preview",
    "/v1/books/{id}/cover",
    "/v1/books/{id}/search",
    "/v1/books/{id}/transcript.json",
    "/v1/books/{id}/transcript.txt",
    "/v1/books/{id}/transcript.vtt",
    "/v1/books/{id}/transcript.srt",
];

/// One id of Ann's for each path that has one: an order, and a hidden book that only she has bought.
async fn items_of_ann(shop: &TestShop) -> (Both, BTreeMap<&'static str, String>) {
    let ann = Both::of(shop, &shop.user("ann").await.access_token);
    let admin = Both::of(shop, &shop.admin("root").await.access_token);
    let book = on_sale(&shop.database, "Emma", 1_299).await.to_string();
    assert_eq!(ann.put(&format!("/v1/cart/{book}")).await.0, 200);
    let (status, order) = ann.send(Method::POST, "/v1/checkout", None).await;
    assert_eq!(status, 200, "{order}");
    assert_eq!(admin.send(Method::POST, &format!("/v1/books/{book}/hide"), None).await.0, 200);
    let position = json!({"position_ms": 1_000});
    let path = format!("/v1/books/{book}/position");
    assert_eq!(ann.send(Method::PUT, &path, Some(position)).await.0, 200);
    let order = order["id"].as_str().unwrap().to_owned();
    let mut ids: BTreeMap<&str, String> = OF_BOOKS.map(|path| (path, book.clone())).into();
    ids.insert("/v1/cart/{book}", book);
    ids.insert("/v1/orders/{id}", order);
    (ann, ids)
}

async fn ask(user: &Both, method: &Method, path: &str) -> (u16, Refusal) {
    let mut request = user.request(method.clone(), path);
    if *method == Method::PUT && path.ends_with("/position") {
        request = request.json(&json!({"position_ms": 5}));
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, of_problem(&serde_json::from_str(&text).unwrap_or_default()))
}

#[tokio::test]
async fn ids_of_other_users_look_unknown() {
    let shop = TestShop::start().await;
    let (ann, ids) = items_of_ann(&shop).await;
    let bob = Both::of(&shop, &shop.user("bob").await.access_token);
    let before = (ann.get("/v1/purchases").await, ann.get("/v1/orders").await);
    let document = bob.get("/openapi.json").await;
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        // Whoever has a token of a link may use it: uploads.rs and downloads.rs have those.
        if !path.contains('{') || path.contains("{token}") {
            continue;
        }
        for name in operations.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            let with = |id: &str| {
                let path = path.replace("{id}", id).replace("{book}", id).replace("{slug}", "crime");
                let path = path.replace("{name}", "groq").replace("{action}", "probe");
                if path.ends_with("/search") { format!("{path}?q=ships") } else { path }
            };
            let unknown = BookId::now().to_string();
            if OF_ADMINS.contains(&(name.as_str(), path.as_str())) {
                let (status, refused) = ask(&bob, &method, &with(&unknown)).await;
                assert_eq!((status, refused.code.as_str()), (403, "forbidden"), "{method} {path}");
                checked += 1;
                continue;
            }
            assert!(ids.contains_key(path.as_str()), "{path} is new: create an item for it");
            let of_ann = &ids[path.as_str()];
            let without = |(status, mut refused): (u16, Refusal), id: &str| {
                refused.text = refused.text.replace(id, "…");
                (status, refused)
            };
            let for_other = without(ask(&bob, &method, &with(of_ann)).await, of_ann);
            let for_unknown = without(ask(&bob, &method, &with(&unknown)).await, &unknown);
            assert_eq!(for_other, for_unknown, "{method} {path}");
            // Removing what is not in the cart changes nothing, and the pipeline is not built for anybody.
            let harmless = *path == "/v1/cart/{book}" && method == Method::DELETE;
            assert!(harmless || [404, 501].contains(&for_other.0), "{method} {path}: {for_other:?}");
            checked += 1;
        }
    }
    assert!(checked >= 20, "{checked}");
    // After all of Bob's attempts, what Ann has is unchanged, and she still has it.
    assert_eq!((ann.get("/v1/purchases").await, ann.get("/v1/orders").await), before);
    let book = &ids["/v1/cart/{book}"];
    assert_eq!(ann.get(&format!("/v1/books/{book}/position")).await["position_ms"], json!(1_000));
    assert_eq!(ann.get(&format!("/v1/books/{book}")).await["owned"], json!(true));
    assert_eq!(ann.get(&format!("/v1/orders/{}", ids["/v1/orders/{id}"])).await["status"], json!("paid"));
}

#[tokio::test]
async fn no_list_shows_what_is_another_users() {
    let shop = TestShop::start().await;
    let (_, ids) = items_of_ann(&shop).await;
    shelve(&shop.database, "Sanditon", None, BookStatus::Draft).await;
    let bob = Both::of(&shop, &shop.user("bob").await.access_token);
    let document = bob.get("/openapi.json").await;
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if path.contains('{') || operations["get"].is_null() || ["/readyz", "/healthz"].contains(&path.as_str()) {
            continue;
        }
        let text = bob.request(Method::GET, path).send().await.unwrap().text().await.unwrap();
        for id in ids.values() {
            assert!(!text.contains(id.as_str()), "{path} shows {id}: {text}");
        }
        checked += 1;
    }
    assert!(checked >= 6, "{checked}");
}
