//! Sessions, passwords and API tokens: what an owner has in hand.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::site::{ADMIN, OTHER, PASSWORD, Site, problem};

const NEW: &str = "kettle under seven clouds";

async fn refused(site: &Site, token: &str) -> bool {
    let response = site.request_as(token, Method::GET, "/v1/users/me").send().await.unwrap();
    response.status() == StatusCode::UNAUTHORIZED
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_or_all_at_once() {
    let site = Site::start().await;
    site.user("ann").await;
    site.user("bob").await;
    let (phone, laptop) = (site.access_token("ann").await, site.access_token("ann").await);
    let bob = site.access_token("bob").await;
    let list = async || {
        let response = site.request_as(&laptop, Method::GET, "/v1/sessions").send().await.unwrap();
        response.json::<Value>().await.unwrap()["items"].as_array().unwrap().clone()
    };
    let sessions = list().await;
    assert_eq!(sessions.len(), 2);
    assert_eq!((&sessions[0]["current"], &sessions[1]["current"]), (&json!(true), &json!(false)), "newest first");
    assert_eq!(sessions[0]["address"], "127.0.0.1");

    let path = format!("/v1/sessions/{}", sessions[1]["id"].as_str().unwrap());
    let stranger = site.request_as(&bob, Method::DELETE, &path).send().await.unwrap();
    assert_eq!(problem(stranger).await.1, "not_found");
    assert_eq!(list().await.len(), 2);
    let ended = site.request_as(&laptop, Method::DELETE, &path).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    assert!(refused(&site, &phone).await && !refused(&site, &laptop).await);

    let ended = site.request_as(&laptop, Method::DELETE, "/v1/sessions").send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    assert!(refused(&site, &laptop).await && !refused(&site, &bob).await);
    site.access_token("ann").await;
}

#[tokio::test]
async fn a_new_password_takes_the_present_one_and_ends_the_other_sessions() {
    let site = Site::start().await;
    site.user("ann").await;
    let (kept, there) = (site.sign_in("ann").await, site.access_token("ann").await);
    let here = kept["access_token"].as_str().unwrap();
    let change = |present: &str, new: &str| {
        let body = json!({"present_password": present, "new_password": new});
        site.request_as(here, Method::POST, "/v1/users/me/password").json(&body).send()
    };
    let (status, code, _) = problem(change("wrong", NEW).await.unwrap()).await;
    assert_eq!((status, code.as_str()), (StatusCode::FORBIDDEN, "wrong_password"));
    let (_, code, detail) = problem(change(PASSWORD, "short").await.unwrap()).await;
    assert!(code == "invalid" && detail.contains("new_password"), "{detail}");
    assert!(!refused(&site, &there).await);

    assert_eq!(change(PASSWORD, NEW).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(refused(&site, here).await && refused(&site, &there).await, "access tokens of before are taken back");
    let renew = [("grant_type", "refresh_token"), ("refresh_token", kept["refresh_token"].as_str().unwrap())];
    assert_eq!(site.form("/v1/token", &renew).await.status(), StatusCode::OK, "the session goes on");
    let with = async |password: &str| {
        let fields = [("grant_type", "password"), ("username", "ann"), ("password", password)];
        site.form("/v1/token", &fields).await.status()
    };
    assert_eq!((with(PASSWORD).await, with(NEW).await), (StatusCode::BAD_REQUEST, StatusCode::OK));
}

#[tokio::test]
async fn a_lost_password_is_set_anew_by_a_mailed_token_once() {
    let site = Site::start().await;
    site.user("ann").await;
    let session = site.access_token("ann").await;
    let forgot = |email: &str| site.stranger(Method::POST, "/v1/password/forgot").json(&json!({"email": email})).send();
    let (known, unknown) = (forgot("Ann@example.org").await.unwrap(), forgot("nobody@example.org").await.unwrap());
    assert_eq!((known.status(), unknown.status()), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(known.text().await.unwrap(), unknown.text().await.unwrap());
    let mail = site.mails.next().await;
    assert_eq!((mail.to.as_str(), site.mails.count()), ("ann@example.org", 0));
    let token = mail.text.split("#token=").nth(1).unwrap().split_whitespace().next().unwrap();

    let reset = |token: &str, password: &str| {
        let body = json!({"token": token, "password": password});
        site.stranger(Method::POST, "/v1/password/reset").json(&body).send()
    };
    assert_eq!(problem(reset("slp_none", NEW).await.unwrap()).await.1, "invalid_reset_token");
    let (_, code, detail) = problem(reset(token, "short").await.unwrap()).await;
    assert!(code == "invalid" && detail.contains("password"), "{detail}");
    assert_eq!(reset(token, NEW).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert!(refused(&site, &session).await, "every session ends");
    assert_eq!(problem(reset(token, NEW).await.unwrap()).await.1, "invalid_reset_token");
    let fields = [("grant_type", "password"), ("username", "ann"), ("password", NEW)];
    assert_eq!(site.form("/v1/token", &fields).await.status(), StatusCode::OK);

    for email in ["", "ann", "a\u{0}@b", &format!("{}@b", "x".repeat(300))] {
        let (status, _, detail) = problem(forgot(email).await.unwrap()).await;
        assert!(status.as_u16() == 422 && detail.contains("email"), "{detail}");
    }
}

#[tokio::test]
async fn an_api_token_is_shown_once_allows_what_it_names_and_is_taken_back() {
    let site = Site::start().await;
    site.user("ann").await;
    let owner = site.access_token("ann").await;
    let make = |token: &str, body: Value| site.request_as(token, Method::POST, "/v1/api-tokens").json(&body).send();
    let body = json!({"name": "gate camera", "scopes": ["frames:write"], "expires_at": "2100-01-01T00:00:00Z"});
    let response = make(&owner, body).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let made: Value = response.json().await.unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    assert_eq!((&made["scopes"], &made["name"]), (&json!(["frames:write"]), &json!("gate camera")));

    let list = site.request_as(&owner, Method::GET, "/v1/api-tokens").send().await.unwrap();
    let list = list.text().await.unwrap();
    assert!(list.contains("gate camera") && !list.contains(&token), "{list}");
    let may = async |path: &str| {
        let response = site.request_as(&token, Method::GET, path).send().await.unwrap();
        response.status()
    };
    assert_eq!(may("/v1/frames").await, StatusCode::FORBIDDEN);
    assert_eq!(may("/v1/users/me").await, StatusCode::OK);
    let sent = site.request_as(&token, Method::POST, "/v1/frames").header("content-type", "image/png");
    let sent = sent.body(crate::site::png(9, 9, 900)).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);

    let another = make(&token, json!({"name": "x", "scopes": ["frames:write"]})).await.unwrap();
    assert_eq!(problem(another).await.1, "forbidden", "a program's token makes no others");
    let path = format!("/v1/api-tokens/{}", made["id"].as_str().unwrap());
    let stranger = site.request_as(ADMIN, Method::DELETE, &path).send().await.unwrap();
    assert_eq!(problem(stranger).await.1, "not_found");
    let deleted = site.request_as(&owner, Method::DELETE, &path).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert!(refused(&site, &token).await);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_to_be_made_is_named() {
    let site = Site::with(&["--rate-limit-rps", "none"]).await;
    site.user("ann").await;
    let owner = site.access_token("ann").await;
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
        let response = site.request_as(&owner, Method::POST, "/v1/api-tokens").json(&body).send().await.unwrap();
        let (_, got, detail) = problem(response).await;
        assert!(got == code && detail.contains(hint), "{body}: {got}: {detail}");
    }
    let admins =
        site.request_as(ADMIN, Method::POST, "/v1/api-tokens").json(&json!({"name": "x", "scopes": ["admin"]}));
    assert_eq!(admins.send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn an_api_token_ends_with_its_time() {
    let site = Site::start().await;
    site.user("ann").await;
    let owner = site.access_token("ann").await;
    let end = jiff::Timestamp::now() + Duration::from_secs(60);
    let body = json!({"name": "x", "scopes": ["frames:write"], "expires_at": end.to_string()});
    let made = site.request_as(&owner, Method::POST, "/v1/api-tokens").json(&body).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    let token = made["token"].as_str().unwrap();
    assert!(!refused(&site, token).await);
    site.clock.advance(Duration::from_secs(61));
    assert!(refused(&site, token).await);
    assert!(!refused(&site, OTHER).await);
}
