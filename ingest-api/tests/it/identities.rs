//! Linking a person at the OpenID provider with a user that is there, and taking that back.

use std::sync::Arc;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::issuer::{Issuer, Key};
use crate::site::{PASSWORD, Site, problem};

const PATH: &str = "/v1/users/me/identities";

async fn start() -> (Arc<Issuer>, Site, String) {
    let issuer = Issuer::start().await;
    let flags = issuer.flags();
    let site = Site::with(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    site.user("ann").await;
    let token = site.access_token("ann").await;
    (issuer, site, token)
}

async fn link(site: &Site, token: &str, id_token: &str) -> Response {
    let body = json!({"id_token": id_token, "present_password": PASSWORD});
    site.request_as(token, Method::POST, PATH).json(&body).send().await.unwrap()
}

async fn sign_in(site: &Site, id_token: &str) -> Response {
    site.stranger(Method::POST, "/v1/oidc/id-token").json(&json!({"id_token": id_token})).send().await.unwrap()
}

async fn linked(site: &Site, token: &str) -> Value {
    site.request_as(token, Method::GET, PATH).send().await.unwrap().json::<Value>().await.unwrap()["items"].clone()
}

#[tokio::test]
async fn an_owner_links_itself_and_signs_in_that_way() {
    let (issuer, site, token) = start().await;
    let hers = issuer.key.token(&issuer.claims());
    assert_eq!(problem(sign_in(&site, &hers).await).await.1, "email_taken");
    let forged = Key::new("one").token(&issuer.claims());
    let (status, code, _) = problem(link(&site, &token, &forged).await).await;
    assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"));
    for (password, code) in [(Value::Null, "invalid"), (json!("another password"), "wrong_password")] {
        let body = json!({"id_token": hers, "present_password": password});
        let refused = site.request_as(&token, Method::POST, PATH).json(&body).send().await.unwrap();
        assert_eq!(problem(refused).await.1, code, "a stolen access token links nobody");
    }
    assert_eq!(linked(&site, &token).await, json!([]));

    assert_eq!(link(&site, &token, &hers).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(link(&site, &token, &hers).await.status(), StatusCode::NO_CONTENT, "it was already");
    let list = linked(&site, &token).await;
    assert_eq!((&list[0]["issuer"], &list[0]["subject"]), (&json!(issuer.url), &json!("ann-at-the-provider")));
    let grant: Value = sign_in(&site, &hers).await.json().await.unwrap();
    let me = site.request_as(grant["access_token"].as_str().unwrap(), Method::GET, "/v1/users/me");
    assert_eq!(me.send().await.unwrap().json::<Value>().await.unwrap()["username"], "ann");

    site.user("bob").await;
    let bob = site.access_token("bob").await;
    assert_eq!(problem(link(&site, &bob, &hers).await).await.1, "conflict", "one person is one user");
    assert_eq!(site.request_as(&token, Method::DELETE, PATH).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(sign_in(&site, &hers).await).await.1, "email_taken");
}

#[tokio::test]
async fn who_has_no_password_keeps_its_only_way_in() {
    let (issuer, site, _) = start().await;
    let mut claims = issuer.claims();
    claims["email"] = json!("cem@example.org");
    let grant: Value = sign_in(&site, &issuer.key.token(&claims)).await.json().await.unwrap();
    let token = grant["access_token"].as_str().unwrap();
    let (status, code, _) = problem(site.request_as(token, Method::DELETE, PATH).send().await.unwrap()).await;
    assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "conflict"));
    assert_eq!(linked(&site, token).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_takes_an_account_over_by_its_address_shares_it_with_nobody() {
    let (issuer, site, token) = start().await;
    // Whoever registered with Ann's address has linked itself; then Ann comes, who reads the mails.
    let thiefs = issuer.key.token(&issuer.claims());
    assert_eq!(link(&site, &token, &thiefs).await.status(), StatusCode::NO_CONTENT);
    let forgot = site.stranger(Method::POST, "/v1/password/forgot").json(&json!({"email": "ann@example.org"}));
    assert_eq!(forgot.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let mail = site.mails.next().await.text;
    let reset = mail.split("#token=").nth(1).unwrap().split_whitespace().next().unwrap();
    let body = json!({"token": reset, "password": format!("{PASSWORD} two")});
    let set = site.stranger(Method::POST, "/v1/password/reset").json(&body).send().await.unwrap();
    assert_eq!(set.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(sign_in(&site, &thiefs).await).await.1, "email_taken", "the link is gone with the sessions");
}
