//! Linking a user with an identity at the OpenID provider, and unlinking it.

use std::sync::Arc;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use testing::openid_provider::{SigningKey, TestProvider};

use crate::support::{PASSWORD, TestServer, json_of, problem};

const PATH: &str = "/v1/users/me/identities";

async fn start() -> (Arc<TestProvider>, TestServer, String) {
    let provider = TestProvider::start().await;
    let flags = provider.flags();
    let server = TestServer::with_flags(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    server.create_user("ann").await;
    let token = server.access_token("ann").await;
    (provider, server, token)
}

async fn link(server: &TestServer, token: &str, id_token: &str) -> Response {
    let body = json!({"id_token": id_token, "present_password": PASSWORD});
    server.post_as(token, PATH, &body).await
}

async fn sign_in(server: &TestServer, id_token: &str) -> Response {
    server.post_anonymously("/v1/oidc/id-token", &json!({"id_token": id_token})).await
}

async fn linked(server: &TestServer, token: &str) -> Value {
    server.get_as(token, PATH).await.json::<Value>().await.unwrap()["items"].clone()
}

#[tokio::test]
async fn a_user_links_and_unlinks_an_identity() {
    let (provider, server, token) = start().await;
    let id_token = provider.key.token(&provider.claims());
    assert_eq!(problem(sign_in(&server, &id_token).await).await.1, "email_taken");
    let forged = SigningKey::new("one").token(&provider.claims());
    let (status, code, _) = problem(link(&server, &token, &forged).await).await;
    assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"));
    for (password, code) in [(Value::Null, "invalid"), (json!("another password"), "wrong_password")] {
        let body = json!({"id_token": id_token, "present_password": password});
        let refused = server.post_as(&token, PATH, &body).await;
        assert_eq!(problem(refused).await.1, code, "linking needs the password");
    }
    assert_eq!(linked(&server, &token).await, json!([]));

    assert_eq!(link(&server, &token, &id_token).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(link(&server, &token, &id_token).await.status(), StatusCode::NO_CONTENT, "linking twice is harmless");
    let list = linked(&server, &token).await;
    assert_eq!((&list[0]["issuer"], &list[0]["subject"]), (&json!(provider.url), &json!("ann-at-the-provider")));
    let grant: Value = sign_in(&server, &id_token).await.json().await.unwrap();
    let me =
        json_of(server.get_as(grant["access_token"].as_str().unwrap(), "/v1/users/me").await, StatusCode::OK).await;
    assert_eq!(me["username"], "ann");

    server.create_user("bob").await;
    let bob = server.access_token("bob").await;
    assert_eq!(problem(link(&server, &bob, &id_token).await).await.1, "conflict", "an identity belongs to one user");
    assert_eq!(server.delete_as(&token, PATH).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(sign_in(&server, &id_token).await).await.1, "email_taken");
}

#[tokio::test]
async fn the_only_credential_cannot_be_unlinked() {
    let (provider, server, _) = start().await;
    let mut claims = provider.claims();
    claims["email"] = json!("cem@example.org");
    let grant: Value = sign_in(&server, &provider.key.token(&claims)).await.json().await.unwrap();
    let token = grant["access_token"].as_str().unwrap();
    let (status, code, _) = problem(server.delete_as(token, PATH).await).await;
    assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "conflict"));
    assert_eq!(linked(&server, token).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_password_reset_removes_linked_identities() {
    let (provider, server, token) = start().await;
    // An attacker registered with Ann's address and linked an identity. Ann, who reads her mail, resets the password.
    let attackers = provider.key.token(&provider.claims());
    assert_eq!(link(&server, &token, &attackers).await.status(), StatusCode::NO_CONTENT);
    let forgot = server.post_anonymously("/v1/password/forgot", &json!({"email": "ann@example.org"})).await;
    assert_eq!(forgot.status(), StatusCode::ACCEPTED);
    let body = json!({"token": server.mailer.next_reset_token().await, "password": format!("{PASSWORD} two")});
    let reset = server.post_anonymously("/v1/password/reset", &body).await;
    assert_eq!(reset.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(sign_in(&server, &attackers).await).await.1, "email_taken", "the reset removed the link");
}
