//! Alert rules.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::site::{OTHER, READER, Site, problem};

async fn create(site: &Site, body: Value) -> Value {
    let response = site.request(Method::POST, "/v1/rules").json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let rule: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/v1/rules/{}", rule["id"].as_str().unwrap()));
    rule
}

#[tokio::test]
async fn a_rule_is_made_changed_and_deleted_by_its_owner_alone() {
    let site = Site::start().await;
    let rule = create(&site, json!({"name": "sure faces", "condition": "label == \"face\" && confidence > 0.8"})).await;
    assert_eq!(rule["enabled"], true);
    assert_eq!(rule["built_in"], false);
    let path = format!("/v1/rules/{}", rule["id"].as_str().unwrap());
    assert_eq!(site.get(&path).await, rule);

    let change =
        |token: &'static str| site.request_as(token, Method::PATCH, &path).json(&json!({"enabled": false})).send();
    assert_eq!(problem(change(OTHER).await.unwrap()).await.1, "not_found");
    assert_eq!(problem(change(READER).await.unwrap()).await.1, "forbidden");
    let changed = site.request(Method::PATCH, &path).json(&json!({"enabled": false})).send().await.unwrap();
    let changed: Value = changed.json().await.unwrap();
    assert_eq!((&changed["enabled"], &changed["condition"]), (&json!(false), &rule["condition"]));
    let bad = site.request(Method::PATCH, &path).json(&json!({"condition": "label"})).send().await.unwrap();
    assert_eq!(problem(bad).await.1, "invalid");
    assert_eq!(site.get(&path).await, changed);

    let delete = || site.request(Method::DELETE, &path).send();
    assert_eq!(delete().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(delete().await.unwrap()).await.1, "not_found");
}

#[tokio::test]
async fn rules_that_come_with_the_product_are_listed_and_cannot_be_changed() {
    let site = Site::with(&["--suspicious-vehicle", "Van"]).await;
    let rules = site.get("/v1/rules").await;
    let built_in = rules["items"].as_array().unwrap().iter().find(|rule| rule["name"] == "suspicious-vehicle").unwrap();
    assert_eq!(built_in["built_in"], true);
    assert!(built_in["condition"].as_str().unwrap().contains("van"), "{built_in}");
    let path = format!("/v1/rules/{}", built_in["id"].as_str().unwrap());
    assert_eq!(&site.get(&path).await, built_in);
    for method in [Method::PATCH, Method::DELETE] {
        let response = site.request(method, &path).json(&json!({"enabled": false})).send().await.unwrap();
        assert_eq!(problem(response).await.1, "conflict");
    }
}

#[tokio::test]
async fn a_name_is_one_rules_alone() {
    let site = Site::start().await;
    create(&site, json!({"name": "cars", "condition": "true"})).await;
    let faces = create(&site, json!({"name": "faces", "condition": "true"})).await;
    let path = format!("/v1/rules/{}", faces["id"].as_str().unwrap());
    let make = |name: &str| site.request(Method::POST, "/v1/rules").json(&json!({"name": name, "condition": "true"}));
    let rename = |name: &str| site.request(Method::PATCH, &path).json(&json!({"name": name}));
    for request in [make("faces"), make("face-seen"), rename("cars"), rename("suspicious-vehicle")] {
        let (status, code, _) = problem(request.send().await.unwrap()).await;
        assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "rule_name_taken"));
    }
    assert_eq!(rename("faces").send().await.unwrap().status(), StatusCode::OK);
    let others = site.request_as(OTHER, Method::POST, "/v1/rules").json(&json!({"name": "faces", "condition": "true"}));
    assert_eq!(others.send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_tenant_has_no_more_than_a_hundred_rules() {
    let site = Site::start().await;
    for number in 0..100 {
        create(&site, json!({"name": format!("r{number}"), "condition": "true"})).await;
    }
    let one_more = site.request(Method::POST, "/v1/rules").json(&json!({"name": "r", "condition": "true"}));
    assert_eq!(problem(one_more.send().await.unwrap()).await.1, "conflict");
}
