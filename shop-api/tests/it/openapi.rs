//! The OpenAPI document agrees with the router.

use std::collections::BTreeSet;

use accounts::Scope;
use reqwest::Method;
use serde_json::Value;

use crate::both::{Both, of_problem};
use crate::test_service::TestShop;

/// The path with values in place of its parameters.
fn concrete(path: &str) -> String {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let path = path.replace("{id}", id).replace("{book}", id).replace("{slug}", "crime");
    path.replace("{name}", "groq").replace("{action}", "probe").replace("{token}", "x")
}

/// The operations of a path.
fn operations(item: &Value) -> impl Iterator<Item = (&String, &Value)> {
    item.as_object().into_iter().flatten().filter(|(name, _)| *name != "parameters")
}

/// Whether an operation needs no credential.
fn is_open(operation: &Value) -> bool {
    let ways = operation["security"].as_array();
    ways.is_some_and(|ways| ways.iter().any(|way| way.as_object().is_some_and(serde_json::Map::is_empty)))
}

#[tokio::test]
async fn router_and_document_agree_on_methods() {
    let shop = TestShop::start().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let document = ann.get("/openapi.json").await;
    let below = ann.get("/v1/books/openapi.json").await;
    let of_shop = below["paths"].as_object().unwrap();
    assert!(of_shop.len() >= 25, "{}", of_shop.len());
    for (path, item) in of_shop {
        assert_eq!(&document["paths"][path], item, "{path}");
        let documented: BTreeSet<String> = operations(item).map(|(name, _)| name.to_uppercase()).collect();
        let request = ann.request(Method::from_bytes(b"BREW").unwrap(), &concrete(path));
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 405, "{path}");
        let allow = response.headers()["allow"].to_str().unwrap();
        let accepted: BTreeSet<String> = allow.split(',').map(|name| name.trim().to_owned()).collect();
        // Every GET route also accepts HEAD.
        let without_head = |methods: BTreeSet<String>| methods.into_iter().filter(|name| name != "HEAD").collect();
        let (accepted, documented): (BTreeSet<String>, BTreeSet<String>) =
            (without_head(accepted), without_head(documented));
        assert_eq!(accepted, documented, "{path}");
    }
}

#[tokio::test]
async fn operations_have_unique_ids_and_documented_errors() {
    let shop = TestShop::start().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let document = ann.get("/v1/books/openapi.json").await;
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations(item) {
            let name = operation["operationId"].as_str().unwrap_or_default();
            assert!(!name.is_empty(), "{method} {path} has no name");
            assert!(names.insert(name.to_owned()), "{name} is the name of two operations");
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
            let header =
                |status: &str| operation["responses"][status]["headers"].as_object().cloned().unwrap_or_default();
            assert!(header("405").contains_key("Allow"), "{method} {path}");
            assert!(header("503").contains_key("Retry-After"), "{method} {path}");
            assert!(is_open(operation) || header("401").contains_key("WWW-Authenticate"), "{method} {path}");
        }
    }
    assert!(names.len() >= 30, "{names:?}");
}

/// Whether only admins may call an operation.
fn is_for_admins(operation: &Value) -> bool {
    operation["security"].to_string().contains("admin")
}

#[tokio::test]
async fn rest_refuses_the_callers_that_grpc_refuses() {
    let shop = TestShop::start().await;
    let user = shop.user("ann").await;
    let camera = shop.api_token(&user, Scope::FramesWrite).await;
    let revoked = shop.revoked_user("gone").await;
    let ann = Both::of(&shop, &user.access_token);
    let (camera, gone) = (Both::of(&shop, &camera), Both::of(&shop, &revoked.access_token));
    let document = ann.get("/v1/books/openapi.json").await;
    let (mut for_users, mut for_admins) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        // The answer to HEAD has no body; it is that to GET.
        let asked = operations(item).filter(|(name, operation)| *name != "head" && !is_open(operation));
        for (name, operation) in asked {
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            let ask = async |who: &Both| {
                let response = who.request(method.clone(), &concrete(path)).send().await.unwrap();
                let status = response.status().as_u16();
                let text = response.text().await.unwrap();
                (status, of_problem(&serde_json::from_str(&text).unwrap_or_default()).code)
            };
            let forbidden = (403, "forbidden".to_owned());
            assert_eq!(ask(&camera).await, forbidden, "{name} {path}");
            assert_eq!(ask(&gone).await, (401, "invalid_token".to_owned()), "{name} {path}");
            if is_for_admins(operation) {
                assert_eq!(ask(&ann).await, forbidden, "{name} {path}");
                for_admins += 1;
            } else {
                let (status, code) = ask(&ann).await;
                assert!(status != 401 && code != "forbidden", "{name} {path}: {status} {code}");
                for_users += 1;
            }
        }
    }
    assert!(for_users >= 12 && for_admins >= 12, "{for_users} {for_admins}");
}

#[tokio::test]
async fn anonymous_requests_get_401_unless_documented() {
    let shop = TestShop::start().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let document = ann.get("/v1/books/openapi.json").await;
    let client = reqwest::Client::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (name, operation) in operations(item) {
            // The token of a link is its credential, and OPTIONS says what the server can.
            let open = path.contains("{token}") || name == "options";
            assert_eq!(is_open(operation), open, "{name} {path}");
            if open {
                continue;
            }
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            let response = client.request(method, format!("{}{}", shop.url, concrete(path))).send().await.unwrap();
            assert_eq!(response.status().as_u16(), 401, "{name} {path}");
            assert!(response.headers().contains_key("www-authenticate"), "{name} {path}");
        }
    }
}
