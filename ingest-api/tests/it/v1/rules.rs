//! Alert rules.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ADMIN, OTHER, READER, TestServer, json_of, problem};

async fn create(server: &TestServer, body: Value) -> Value {
    let response = server.post_as(ADMIN, "/v1/rules", &body).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let rule: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/v1/rules/{}", rule["id"].as_str().unwrap()));
    rule
}

#[tokio::test]
async fn a_rule_is_managed_by_its_owner_only() {
    let server = TestServer::start().await;
    let rule =
        create(&server, json!({"name": "sure faces", "condition": "label == \"face\" && confidence > 0.8"})).await;
    assert_eq!(rule["enabled"], true);
    assert_eq!(rule["built_in"], false);
    let path = format!("/v1/rules/{}", rule["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await, rule);

    let disable = async |token: &str| server.patch_as(token, &path, &json!({"enabled": false})).await;
    assert_eq!(problem(disable(OTHER).await).await.1, "not_found");
    assert_eq!(problem(disable(READER).await).await.1, "forbidden");
    let changed = json_of(disable(ADMIN).await, StatusCode::OK).await;
    assert_eq!((&changed["enabled"], &changed["condition"]), (&json!(false), &rule["condition"]));
    let bad = server.patch_as(ADMIN, &path, &json!({"condition": "label"})).await;
    assert_eq!(problem(bad).await.1, "invalid");
    assert_eq!(server.get(&path).await, changed);

    assert_eq!(server.delete_as(ADMIN, &path).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(server.delete_as(ADMIN, &path).await).await.1, "not_found");
}

#[tokio::test]
async fn built_in_rules_are_listed_and_read_only() {
    let server = TestServer::with_flags(&["--suspicious-vehicle", "Van"]).await;
    let rules = server.get("/v1/rules").await;
    let built_in = rules["items"].as_array().unwrap().iter().find(|rule| rule["name"] == "suspicious-vehicle").unwrap();
    assert_eq!(built_in["built_in"], true);
    assert!(built_in["condition"].as_str().unwrap().contains("van"), "{built_in}");
    let path = format!("/v1/rules/{}", built_in["id"].as_str().unwrap());
    assert_eq!(&server.get(&path).await, built_in);
    for method in [Method::PATCH, Method::DELETE] {
        let response = server.request(method, &path).json(&json!({"enabled": false})).send().await.unwrap();
        assert_eq!(problem(response).await.1, "conflict");
    }
}

#[tokio::test]
async fn rule_names_are_unique_per_tenant() {
    let server = TestServer::start().await;
    create(&server, json!({"name": "cars", "condition": "true"})).await;
    let faces = create(&server, json!({"name": "faces", "condition": "true"})).await;
    let path = format!("/v1/rules/{}", faces["id"].as_str().unwrap());
    let add = |name: &str| server.request(Method::POST, "/v1/rules").json(&json!({"name": name, "condition": "true"}));
    let rename = |name: &str| server.request(Method::PATCH, &path).json(&json!({"name": name}));
    for request in [add("faces"), add("face-seen"), rename("cars"), rename("suspicious-vehicle")] {
        let (status, code, _) = problem(request.send().await.unwrap()).await;
        assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "rule_name_taken"));
    }
    assert_eq!(rename("faces").send().await.unwrap().status(), StatusCode::OK);
    let other = server.post_as(OTHER, "/v1/rules", &json!({"name": "faces", "condition": "true"})).await;
    assert_eq!(other.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_tenant_has_at_most_100_rules() {
    let server = TestServer::start().await;
    for number in 0..100 {
        create(&server, json!({"name": format!("r{number}"), "condition": "true"})).await;
    }
    let one_more = server.post_as(ADMIN, "/v1/rules", &json!({"name": "r", "condition": "true"})).await;
    assert_eq!(problem(one_more).await.1, "conflict");
}
