//! API tokens.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{ADMIN, OTHER, TestServer, json_of, problem};

#[tokio::test]
async fn an_api_token_is_shown_once_scoped_and_revocable() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let owner = server.access_token("ann").await;
    let body = json!({"name": "gate camera", "scopes": ["frames:write"], "expires_at": "2100-01-01T00:00:00Z"});
    let response = server.post_as(&owner, "/v1/api-tokens", &body).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let created: Value = response.json().await.unwrap();
    let token = created["token"].as_str().unwrap();
    assert_eq!((&created["scopes"], &created["name"]), (&json!(["frames:write"]), &json!("gate camera")));

    let list = server.get_as(&owner, "/v1/api-tokens").await;
    let list = list.text().await.unwrap();
    assert!(list.contains("gate camera") && !list.contains(token), "{list}");
    assert_eq!(server.get_as(token, "/v1/frames").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(server.get_as(token, "/v1/users/me").await.status(), StatusCode::OK);
    assert_eq!(server.frame_as(token).send().await.unwrap().status(), StatusCode::ACCEPTED);

    let body = json!({"name": "x", "scopes": ["frames:write"]});
    let another = server.post_as(token, "/v1/api-tokens", &body).await;
    assert_eq!(problem(another).await.1, "forbidden", "an API token creates no API tokens");
    let path = format!("/v1/api-tokens/{}", created["id"].as_str().unwrap());
    let foreign = server.delete_as(ADMIN, &path).await;
    assert_eq!(problem(foreign).await.1, "not_found");
    let deleted = server.delete_as(&owner, &path).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert!(server.refuses(token).await);
}

#[tokio::test]
async fn api_token_errors_name_the_field() {
    let server = TestServer::with_flags(&["--rate-limit-rps", "none"]).await;
    server.create_user("ann").await;
    let owner = server.access_token("ann").await;
    for (body, code, hint) in [
        (json!({"name": "x", "scopes": ["admin"]}), "scope_not_allowed", "scopes"),
        (json!({"name": "x", "scopes": ["root"]}), "invalid", "scopes"),
        (json!({"name": "x", "scopes": []}), "invalid", "scopes"),
        (json!({"name": "x", "scopes": "frames:write"}), "invalid", "scopes"),
        (json!({"name": "x"}), "invalid", "scopes"),
        (json!({"name": "", "scopes": ["frames:write"]}), "invalid", "name"),
        (json!({"name": "a\u{0}", "scopes": ["frames:write"]}), "invalid", "name"),
        (json!({"name": "x".repeat(101), "scopes": ["frames:write"]}), "invalid", "name"),
        (
            json!({"name": "x", "scopes": ["frames:write"], "expires_at": "2020-01-01T00:00:00Z"}),
            "invalid",
            "expires_at",
        ),
        (json!({"name": "x", "scopes": ["frames:write"], "expires_at": "soon"}), "invalid", "expires_at"),
        (json!({"name": "x", "scopes": ["frames:write"], "token": "sl_mine"}), "invalid", "token"),
    ] {
        let response = server.post_as(&owner, "/v1/api-tokens", &body).await;
        let (_, got, detail) = problem(response).await;
        assert!(got == code && detail.contains(hint), "{body}: {got}: {detail}");
    }
    let admins =
        server.request_as(ADMIN, Method::POST, "/v1/api-tokens").json(&json!({"name": "x", "scopes": ["admin"]}));
    assert_eq!(admins.send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn an_api_token_expires() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let owner = server.access_token("ann").await;
    let end = jiff::Timestamp::now() + Duration::from_secs(60);
    let body = json!({"name": "x", "scopes": ["frames:write"], "expires_at": end.to_string()});
    let created = json_of(server.post_as(&owner, "/v1/api-tokens", &body).await, StatusCode::CREATED).await;
    let token = created["token"].as_str().unwrap();
    assert!(!server.refuses(token).await);
    server.clock.advance(Duration::from_secs(61));
    assert!(server.refuses(token).await);
    assert!(!server.refuses(OTHER).await);
}
