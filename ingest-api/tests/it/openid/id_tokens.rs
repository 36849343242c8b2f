//! Sign-in with an ID token, as in mobile apps. The tests of crate `openid` have all forgeries.

use std::sync::Arc;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use store::relational::AccessChange;

use testing::openid_provider::{ProviderFault, SigningKey, TestProvider, with};

use crate::support::{PASSWORD, TestServer, problem};

const NONCE: &str = "of-this-sign-in";

async fn server_with(provider: &TestProvider, more: &[&str]) -> TestServer {
    let flags = provider.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    TestServer::with_flags(&flags).await
}

async fn start() -> (Arc<TestProvider>, TestServer) {
    let provider = TestProvider::start().await;
    let server = server_with(&provider, &["--sign-ins-per-address", "100000"]).await;
    (provider, server)
}

async fn post(server: &TestServer, body: &Value) -> Response {
    server.anonymous(Method::POST, "/v1/oidc/id-token").json(body).send().await.unwrap()
}

async fn show(server: &TestServer, token: &str) -> Response {
    post(server, &json!({"id_token": token})).await
}

/// The profile of the user that this ID token signs in.
async fn me(server: &TestServer, token: &str) -> Value {
    let response = show(server, token).await;
    assert_eq!(response.status(), StatusCode::OK);
    let grant: Value = response.json().await.unwrap();
    let access_token = grant["access_token"].as_str().unwrap();
    server.get_as(access_token, "/v1/users/me").await.json().await.unwrap()
}

async fn refused(server: &TestServer, token: &str) -> (StatusCode, String) {
    let (status, code, _) = problem(show(server, token).await).await;
    (status, code)
}

#[tokio::test]
async fn an_id_token_signs_in_and_one_subject_is_one_user() {
    let (provider, server) = start().await;
    let response = show(&server, &provider.key.token(&provider.claims())).await;
    assert_eq!(
        (response.status(), &response.headers()["cache-control"]),
        (StatusCode::OK, &"no-store".parse().unwrap())
    );
    let grant: Value = response.json().await.unwrap();
    assert_eq!(grant["token_type"], "Bearer");
    let renewed = [("grant_type", "refresh_token"), ("refresh_token", grant["refresh_token"].as_str().unwrap())];
    assert_eq!(server.post_form("/v1/token", &renewed).await.status(), StatusCode::OK);

    let ann = me(&server, &provider.key.token(&provider.claims())).await;
    assert_eq!((&ann["email"], &ann["full_name"]), (&json!("ann@example.org"), &json!("Ann Miller")));
    let moved = with(&provider.claims(), "email", json!("ann@elsewhere.example"));
    assert_eq!(
        me(&server, &provider.key.token(&moved)).await["id"],
        ann["id"],
        "the subject identifies the user, not the address"
    );
    let bob = with(&with(&provider.claims(), "sub", json!("bob")), "email", json!("bob@example.org"));
    assert_ne!(me(&server, &provider.key.token(&bob)).await["id"], ann["id"]);

    let log = server.get(&format!("/v1/audit?user={}", ann["id"].as_str().unwrap())).await;
    let actions: Vec<&str> =
        log["items"].as_array().unwrap().iter().map(|item| item["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["signed_in", "signed_in", "signed_in", "identity_linked", "registered"]);
}

#[tokio::test]
async fn forged_id_tokens_get_401_and_add_no_user() {
    let (provider, server) = start().await;
    let claims = with(&provider.claims(), "nonce", json!(NONCE));
    let attacker = SigningKey::new(&provider.key.kid);
    for (kind, token, nonce) in [
        ("another key under the same id", attacker.token(&claims), NONCE),
        ("an unpublished key", SigningKey::new("two").token(&claims), NONCE),
        ("another audience", provider.key.token(&with(&claims, "aud", json!("another"))), NONCE),
        ("expired", provider.key.token(&with(&claims, "exp", json!(1))), NONCE),
        ("another nonce", provider.key.token(&claims), "of-another-sign-in"),
        ("no token", String::new(), NONCE),
    ] {
        let answer = post(&server, &json!({"id_token": token, "nonce": nonce})).await;
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        let (status, code, detail) = problem(answer).await;
        assert_eq!((status, code.as_str()), (StatusCode::UNAUTHORIZED, "invalid_id_token"), "{kind}: {detail}");
    }
    let users = server.get("/v1/users").await;
    assert_eq!(users["items"].as_array().unwrap().len(), 2, "no forgery created a user: {users}");
    let good = post(&server, &json!({"id_token": provider.key.token(&claims), "nonce": NONCE})).await;
    assert_eq!(good.status(), StatusCode::OK, "the forgeries vary a valid token");
    assert_eq!(me(&server, &provider.key.token(&claims)).await["email"], "ann@example.org", "the nonce is optional");
}

#[tokio::test]
async fn an_email_address_alone_never_signs_in() {
    let (provider, server) = start().await;
    // An attacker may have registered with Ann's address beforehand.
    server.create_user("ann").await;
    let (status, code, detail) = problem(show(&server, &provider.key.token(&provider.claims())).await).await;
    assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "email_taken"));
    assert!(detail.contains("/v1/password/forgot") && detail.contains("/v1/users/me/identities"), "{detail}");
    let folded = with(&provider.claims(), "email", json!("ANN@Example.org"));
    assert_eq!(refused(&server, &provider.key.token(&folded)).await.1, "email_taken");

    for unproven in [json!(false), Value::Null, json!("false")] {
        let claims =
            with(&with(&provider.claims(), "email_verified", unproven.clone()), "sub", json!(unproven.to_string()));
        let user = me(&server, &provider.key.token(&claims)).await;
        assert_eq!(user["email"], Value::Null, "an unverified address is not stored");
        assert!(user["username"].as_str().unwrap().starts_with("user-"), "{user}");
    }
    let log = server.get("/v1/audit").await.to_string();
    assert!(log.contains("sign_in_refused"), "{log}");
}

#[tokio::test]
async fn closed_registration_and_disabled_users_are_refused() {
    let provider = TestProvider::start().await;
    let closed = server_with(&provider, &["--registration", "off"]).await;
    let token = provider.key.token(&provider.claims());
    assert_eq!(refused(&closed, &token).await, (StatusCode::FORBIDDEN, "not_registered".to_owned()));

    let server = server_with(&provider, &[]).await;
    let ann = me(&server, &token).await["id"].as_str().unwrap().parse().unwrap();
    let disabled = AccessChange { disabled: Some(true), ..AccessChange::default() };
    server.deps.accounts_service.change_access(ann, &disabled, &accounts::Actor::default()).await.unwrap();
    assert_eq!(refused(&server, &token).await, (StatusCode::FORBIDDEN, "disabled".to_owned()));
}

#[tokio::test]
async fn a_faulty_provider_gives_503() {
    let provider = TestProvider::start().await;
    let token = provider.key.token(&provider.claims());
    for fault in
        [ProviderFault::ServerError, ProviderFault::OversizedBody, ProviderFault::Redirect, ProviderFault::WrongIssuer]
    {
        provider.set_fault(fault);
        let server = server_with(&provider, &[]).await;
        let answer = show(&server, &token).await;
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(problem(answer).await.1, "unavailable");
        let login = server.anonymous(Method::GET, "/v1/oidc/login").send().await.unwrap();
        assert_eq!(problem(login).await.1, "unavailable");
    }
    let nowhere = ["--oidc-issuer", "http://127.0.0.1:9", "--oidc-client-id", "sightline-web"];
    let server = TestServer::with_flags(&nowhere).await;
    assert_eq!(refused(&server, &token).await, (StatusCode::SERVICE_UNAVAILABLE, "unavailable".to_owned()));
}

#[tokio::test]
async fn id_token_attempts_count_as_sign_in_attempts() {
    let provider = TestProvider::start().await;
    let server = server_with(&provider, &["--sign-ins-per-address", "6"]).await;
    server.create_user("bob").await;
    let mut left = 0;
    while refused(&server, "none").await.1 == "invalid_id_token" {
        left += 1;
        assert!(left < 10, "never throttled");
    }
    assert_eq!(refused(&server, "none").await, (StatusCode::TOO_MANY_REQUESTS, "throttled".to_owned()));
    let sign_in = server.sign_in_with("bob", PASSWORD).await;
    assert_eq!(sign_in.status(), StatusCode::TOO_MANY_REQUESTS);
    let callback = server.anonymous(Method::GET, "/v1/oidc/callback?state=a&code=b").send().await.unwrap();
    assert_eq!(problem(callback).await.1, "throttled");
}

#[tokio::test]
async fn without_a_provider_openid_routes_are_404() {
    let server = TestServer::start().await;
    for path in ["/v1/oidc/login", "/v1/oidc/callback"] {
        let answer = server.anonymous(Method::GET, path).send().await.unwrap();
        let (status, code, detail) = problem(answer).await;
        assert_eq!((status, code.as_str()), (StatusCode::NOT_FOUND, "no_provider"));
        assert!(detail.contains("SIGHTLINE_OIDC_ISSUER"), "{detail}");
    }
    assert_eq!(refused(&server, "none").await, (StatusCode::NOT_FOUND, "no_provider".to_owned()));
}
