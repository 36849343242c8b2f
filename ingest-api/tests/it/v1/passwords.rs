//! Changing and resetting a password.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{PASSWORD, TestServer, problem};

const NEW: &str = "kettle under seven clouds";

#[tokio::test]
async fn changing_the_password_ends_other_sessions() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let (session, other) = (server.sign_in("ann").await, server.access_token("ann").await);
    let own = session["access_token"].as_str().unwrap();
    let change = |present: &str, new: &str| {
        let body = json!({"present_password": present, "new_password": new});
        server.request_as(own, Method::POST, "/v1/users/me/password").json(&body).send()
    };
    let (status, code, _) = problem(change("wrong", NEW).await.unwrap()).await;
    assert_eq!((status, code.as_str()), (StatusCode::FORBIDDEN, "wrong_password"));
    let (_, code, detail) = problem(change(PASSWORD, "short").await.unwrap()).await;
    assert!(code == "invalid" && detail.contains("new_password"), "{detail}");
    assert!(!server.refuses(&other).await);

    assert_eq!(change(PASSWORD, NEW).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(server.refuses(own).await && server.refuses(&other).await, "earlier access tokens are revoked");
    let renew = [("grant_type", "refresh_token"), ("refresh_token", session["refresh_token"].as_str().unwrap())];
    assert_eq!(server.post_form("/v1/token", &renew).await.status(), StatusCode::OK, "the session stays valid");
    assert_eq!(server.sign_in_with("ann", PASSWORD).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(server.sign_in_with("ann", NEW).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_mailed_reset_token_sets_the_password_once() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let session = server.access_token("ann").await;
    let forgot =
        |email: &str| server.anonymous(Method::POST, "/v1/password/forgot").json(&json!({"email": email})).send();
    let (known, unknown) = (forgot("Ann@example.org").await.unwrap(), forgot("nobody@example.org").await.unwrap());
    assert_eq!((known.status(), unknown.status()), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(known.text().await.unwrap(), unknown.text().await.unwrap());
    let mail = server.mailer.next().await;
    assert_eq!((mail.to.as_str(), server.mailer.unread()), ("ann@example.org", 0));
    let token = mail.text.split("#token=").nth(1).unwrap().split_whitespace().next().unwrap();

    let reset = |token: &str, password: &str| {
        let body = json!({"token": token, "password": password});
        server.anonymous(Method::POST, "/v1/password/reset").json(&body).send()
    };
    assert_eq!(problem(reset("slp_none", NEW).await.unwrap()).await.1, "invalid_reset_token");
    let (_, code, detail) = problem(reset(token, "short").await.unwrap()).await;
    assert!(code == "invalid" && detail.contains("password"), "{detail}");
    assert_eq!(reset(token, NEW).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(server.refuses(&session).await, "every session ends");
    assert_eq!(problem(reset(token, NEW).await.unwrap()).await.1, "invalid_reset_token");
    assert_eq!(server.sign_in_with("ann", NEW).await.status(), StatusCode::OK);

    for email in ["", "ann", "a\u{0}@b", &format!("{}@b", "x".repeat(300))] {
        let (status, _, detail) = problem(forgot(email).await.unwrap()).await;
        assert!(status.as_u16() == 422 && detail.contains("email"), "{detail}");
    }
}
