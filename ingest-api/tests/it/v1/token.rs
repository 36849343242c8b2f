//! The OAuth token routes: grant, refresh, revocation, introspection, keys.

use std::time::Duration;

use accounts::Scope;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use store::relational::Role;

use crate::support::{ADMIN, PASSWORD, TestServer, problem};

/// Checks that a response is an error of RFC 6749, section 5.2, and returns its code.
async fn oauth_error(response: Response, status: StatusCode) -> String {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: Value = response.json().await.unwrap();
    assert!(body["error_description"].as_str().unwrap().len() > 10, "{body}");
    body["error"].as_str().unwrap().to_owned()
}

async fn grant(server: &TestServer, fields: &[(&str, &str)]) -> Response {
    server.post_form("/v1/token", fields).await
}

async fn refresh(server: &TestServer, token: &str) -> Response {
    grant(server, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[tokio::test]
async fn sign_in_returns_uncacheable_tokens() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    // Swagger UI sends every field, most of them empty.
    let fields = [
        ("grant_type", "password"),
        ("username", "ann"),
        ("password", PASSWORD),
        ("scope", ""),
        ("client_id", ""),
        ("client_secret", ""),
    ];
    let response = grant(&server, &fields).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["pragma"], "no-cache");
    let answer: Value = response.json().await.unwrap();
    assert_eq!((text(&answer, "token_type"), &answer["expires_in"]), ("Bearer", &json!(900)));
    assert_eq!(text(&answer, "scope"), Scope::list(Scope::allowed_for(Role::User)));
    let list = server.get_as(text(&answer, "access_token"), "/v1/frames").await;
    assert_eq!(list.status(), StatusCode::OK);
}

#[tokio::test]
async fn token_errors_follow_rfc_6749() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let good = [("grant_type", "password"), ("username", "ann"), ("password", PASSWORD)];
    let with = |name: &'static str, value: &'static str| {
        let mut fields = good.to_vec();
        fields.retain(|(field, _)| *field != name);
        fields.push((name, value));
        fields
    };
    for (fields, code) in [
        (with("password", "wrong"), "invalid_grant"),
        (with("username", "nobody"), "invalid_grant"),
        (with("username", "a\0b"), "invalid_grant"),
        (with("grant_type", "client_credentials"), "unsupported_grant_type"),
        (with("grant_type", ""), "invalid_request"),
        (with("username", ""), "invalid_request"),
        (with("password", ""), "invalid_request"),
        (with("scope", "root"), "invalid_scope"),
        (with("grant_type", "refresh_token"), "invalid_request"),
        (vec![("grant_type", "refresh_token"), ("refresh_token", "slr_none")], "invalid_grant"),
        ([&good[..], &good[..]].concat(), "invalid_request"),
        (Vec::new(), "invalid_request"),
    ] {
        let response = grant(&server, &fields).await;
        assert_eq!(oauth_error(response, StatusCode::BAD_REQUEST).await, code, "{fields:?}");
    }
    let json = server.post_anonymously("/v1/token", &json!({"grant_type": "password"})).await;
    assert_eq!(oauth_error(json, StatusCode::BAD_REQUEST).await, "invalid_request");
    let long = "x".repeat(20_000);
    let response = grant(&server, &[("grant_type", "password"), ("username", &long), ("password", "x")]).await;
    assert_eq!(oauth_error(response, StatusCode::PAYLOAD_TOO_LARGE).await, "invalid_request");
    let query = server.post_form("/v1/token?grant_type=password", &good).await;
    assert_eq!(oauth_error(query, StatusCode::BAD_REQUEST).await, "invalid_request");
}

#[tokio::test]
async fn reusing_a_refresh_token_late_ends_the_session() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let first = server.sign_in("ann").await;
    let second: Value = refresh(&server, text(&first, "refresh_token")).await.json().await.unwrap();
    let again = refresh(&server, text(&first, "refresh_token")).await;
    assert_eq!(oauth_error(again, StatusCode::BAD_REQUEST).await, "invalid_grant");
    let third: Value = refresh(&server, text(&second, "refresh_token")).await.json().await.unwrap();

    server.clock.advance(Duration::from_secs(15));
    let late = refresh(&server, text(&first, "refresh_token")).await;
    assert_eq!(oauth_error(late, StatusCode::BAD_REQUEST).await, "invalid_grant");
    let ended = refresh(&server, text(&third, "refresh_token")).await;
    assert_eq!(oauth_error(ended, StatusCode::BAD_REQUEST).await, "invalid_grant");
    let started = tokio::time::Instant::now();
    let me = || server.request_as(text(&third, "access_token"), Method::GET, "/v1/users/me").send();
    while me().await.unwrap().status() != StatusCode::UNAUTHORIZED {
        assert!(started.elapsed() < Duration::from_secs(1), "the session's access token is still accepted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn of_fifty_concurrent_refreshes_one_succeeds() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let signed_in = server.sign_in("ann").await;
    let token = text(&signed_in, "refresh_token");
    let responses = futures::future::join_all((0..50).map(|_| refresh(&server, token))).await;
    let (accepted, refused): (Vec<_>, Vec<_>) =
        responses.into_iter().partition(|response| response.status() == StatusCode::OK);
    assert_eq!((accepted.len(), refused.len()), (1, 49));
    for response in refused {
        assert_eq!(oauth_error(response, StatusCode::BAD_REQUEST).await, "invalid_grant");
    }
    let next: Value = accepted.into_iter().next().unwrap().json().await.unwrap();
    assert_eq!(refresh(&server, text(&next, "refresh_token")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_revoked_token_is_refused_everywhere_in_a_second() {
    let mut server = TestServer::start().await;
    let other = server.second_instance().await;
    server.create_user("ann").await;
    let signed_in = server.sign_in("ann").await;
    let access = text(&signed_in, "access_token");
    let at = |address| server.client.get(format!("http://{address}/v1/users/me")).bearer_auth(access).send();
    assert_eq!(at(other).await.unwrap().status(), StatusCode::OK);

    let revoked = server.post_form("/v1/token/revoke", &[("token", text(&signed_in, "refresh_token"))]).await;
    assert_eq!(revoked.status(), StatusCode::OK);
    assert_eq!(at(server.address).await.unwrap().status(), StatusCode::UNAUTHORIZED, "immediate on the same instance");
    let started = tokio::time::Instant::now();
    while at(other).await.unwrap().status() != StatusCode::UNAUTHORIZED {
        assert!(started.elapsed() < Duration::from_secs(1), "still accepted by the other instance");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let unknown = server.post_form("/v1/token/revoke", &[("token", "whatever")]).await;
    assert_eq!(unknown.status(), StatusCode::OK, "RFC 7009: an unknown token counts as revoked");
    let none = server.post_form("/v1/token/revoke", &[]).await;
    assert_eq!(oauth_error(none, StatusCode::BAD_REQUEST).await, "invalid_request");
}

#[tokio::test]
async fn an_expired_access_token_is_refused() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let token = server.access_token("ann").await;
    server.clock.advance(Duration::from_secs(901));
    let response = server.get_as(&token, "/v1/users/me").await;
    assert_eq!(response.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
    assert_eq!(problem(response).await.1, "invalid_token");
}

#[tokio::test]
async fn introspection_describes_tokens_to_callers() {
    let server = TestServer::start().await;
    let user = server.create_user("ann").await;
    let signed_in = server.sign_in("ann").await;
    let introspect = async |caller: Option<&str>, fields: &[(&str, &str)]| {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = server.anonymous(Method::POST, "/v1/token/introspect").body(body.join("&"));
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(caller) = caller {
            request = request.bearer_auth(caller);
        }
        request.send().await.unwrap()
    };
    let (access, refresh) = (text(&signed_in, "access_token"), text(&signed_in, "refresh_token"));
    let claims: Value = introspect(Some(ADMIN), &[("token", access)]).await.json().await.unwrap();
    assert_eq!(
        (&claims["active"], &claims["sub"], &claims["username"]),
        (&json!(true), &json!(user.id), &json!("ann"))
    );
    assert_eq!((&claims["token_type"], &claims["iss"]), (&json!("Bearer"), &json!("http://127.0.0.1:8080")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    assert_eq!(claims["tenant"], json!(user.tenant));

    let inactive = json!({"active": false});
    let claims: Value = introspect(Some(ADMIN), &[("token", refresh)]).await.json().await.unwrap();
    assert_eq!(claims, inactive, "without the hint a refresh token is not active");
    let hinted = [("token", refresh), ("token_type_hint", "refresh_token")];
    let claims: Value = introspect(Some(ADMIN), &hinted).await.json().await.unwrap();
    assert_eq!((&claims["active"], &claims["token_type"]), (&json!(true), &json!("refresh_token")));
    for token in ["garbage", "sl_none", "slr_none", "a.b.c"] {
        let claims: Value = introspect(Some(access), &[("token", token)]).await.json().await.unwrap();
        assert_eq!(claims, inactive, "{token}");
    }
    let anonymous = introspect(None, &[("token", access)]).await;
    assert_eq!(anonymous.headers()["www-authenticate"], "Bearer");
    assert_eq!(oauth_error(anonymous, StatusCode::UNAUTHORIZED).await, "invalid_client");
    let invalid = introspect(Some("sl_none"), &[("token", access)]).await;
    assert_eq!(oauth_error(invalid, StatusCode::UNAUTHORIZED).await, "invalid_client");
}

#[tokio::test]
async fn access_tokens_name_a_published_public_key() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let token = server.access_token("ann").await;
    let response = server.anonymous(Method::GET, "/.well-known/jwks.json").send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "public, max-age=300");
    let keys: Value = response.json().await.unwrap();
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")));
    assert!(key["d"].is_null());
}

#[tokio::test]
async fn password_guessing_is_throttled() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let wrong = [("grant_type", "password"), ("username", "ann"), ("password", "wrong")];
    let mut throttled = None;
    for _ in 0..20 {
        let response = grant(&server, &wrong).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            throttled = Some(response);
            break;
        }
    }
    let throttled = throttled.expect("guessing is throttled");
    assert!(throttled.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(oauth_error(throttled, StatusCode::TOO_MANY_REQUESTS).await, "slow_down");
}
