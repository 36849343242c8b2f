//! Signing in and renewing, taking tokens back and telling what they are.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::site::{ADMIN, PASSWORD, Site, problem};

/// Checks that an answer is a refusal as RFC 6749 has it, and returns its code.
async fn refusal(response: Response, status: StatusCode) -> String {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    let body: Value = response.json().await.unwrap();
    assert!(body["error_description"].as_str().unwrap().len() > 10, "{body}");
    body["error"].as_str().unwrap().to_owned()
}

async fn grant(site: &Site, fields: &[(&str, &str)]) -> Response {
    site.form("/v1/token", fields).await
}

async fn renew(site: &Site, token: &str) -> Response {
    grant(site, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[tokio::test]
async fn a_sign_in_gives_tokens_that_no_cache_keeps() {
    let site = Site::start().await;
    site.user("ann").await;
    // As Swagger UI sends it: every field, most of them empty, and a client without id and secret.
    let fields = [
        ("grant_type", "password"),
        ("username", "ann"),
        ("password", PASSWORD),
        ("scope", ""),
        ("client_id", ""),
        ("client_secret", ""),
    ];
    let response = grant(&site, &fields).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["pragma"], "no-cache");
    let answer: Value = response.json().await.unwrap();
    assert_eq!((text(&answer, "token_type"), &answer["expires_in"]), ("Bearer", &json!(900)));
    assert_eq!(text(&answer, "scope").split(' ').count(), 6, "all that a user may: {answer}");
    let list = site.request_as(text(&answer, "access_token"), Method::GET, "/v1/frames").send().await.unwrap();
    assert_eq!(list.status(), StatusCode::OK);
}

#[tokio::test]
async fn what_is_wrong_with_a_form_is_told_as_the_standard_says() {
    let site = Site::start().await;
    site.user("ann").await;
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
        let response = grant(&site, &fields).await;
        assert_eq!(refusal(response, StatusCode::BAD_REQUEST).await, code, "{fields:?}");
    }
    let json = site.stranger(Method::POST, "/v1/token").json(&json!({"grant_type": "password"})).send().await.unwrap();
    assert_eq!(refusal(json, StatusCode::BAD_REQUEST).await, "invalid_request");
    let long = "x".repeat(20_000);
    let response = grant(&site, &[("grant_type", "password"), ("username", &long), ("password", "x")]).await;
    assert_eq!(refusal(response, StatusCode::PAYLOAD_TOO_LARGE).await, "invalid_request");
    let query = site.form("/v1/token?grant_type=password", &good).await;
    assert_eq!(refusal(query, StatusCode::BAD_REQUEST).await, "invalid_request");
}

#[tokio::test]
async fn a_spent_refresh_token_is_refused_and_its_use_much_later_ends_the_session() {
    let site = Site::start().await;
    site.user("ann").await;
    let first = site.sign_in("ann").await;
    let second: Value = renew(&site, text(&first, "refresh_token")).await.json().await.unwrap();
    let again = renew(&site, text(&first, "refresh_token")).await;
    assert_eq!(refusal(again, StatusCode::BAD_REQUEST).await, "invalid_grant");
    let third: Value = renew(&site, text(&second, "refresh_token")).await.json().await.unwrap();

    site.clock.advance(Duration::from_secs(15));
    let late = renew(&site, text(&first, "refresh_token")).await;
    assert_eq!(refusal(late, StatusCode::BAD_REQUEST).await, "invalid_grant");
    let ended = renew(&site, text(&third, "refresh_token")).await;
    assert_eq!(refusal(ended, StatusCode::BAD_REQUEST).await, "invalid_grant");
    let began = tokio::time::Instant::now();
    let me = || site.request_as(text(&third, "access_token"), Method::GET, "/v1/users/me").send();
    while me().await.unwrap().status() != StatusCode::UNAUTHORIZED {
        assert!(began.elapsed() < Duration::from_secs(1), "the session's access token is still accepted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn of_fifty_who_renew_at_once_one_does_and_the_session_lives_on() {
    let site = Site::start().await;
    site.user("ann").await;
    let signed_in = site.sign_in("ann").await;
    let token = text(&signed_in, "refresh_token");
    let answers = futures::future::join_all((0..50).map(|_| renew(&site, token))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status() == StatusCode::OK);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for answer in lost {
        assert_eq!(refusal(answer, StatusCode::BAD_REQUEST).await, "invalid_grant");
    }
    let next: Value = won.into_iter().next().unwrap().json().await.unwrap();
    assert_eq!(renew(&site, text(&next, "refresh_token")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_revoked_token_is_refused_by_every_process_within_a_second() {
    let mut site = Site::start().await;
    let other = site.other_process().await;
    site.user("ann").await;
    let signed_in = site.sign_in("ann").await;
    let access = text(&signed_in, "access_token");
    let at = |address| site.client.get(format!("http://{address}/v1/users/me")).bearer_auth(access).send();
    assert_eq!(at(other).await.unwrap().status(), StatusCode::OK);

    let revoked = site.form("/v1/token/revoke", &[("token", text(&signed_in, "refresh_token"))]).await;
    assert_eq!(revoked.status(), StatusCode::OK);
    assert_eq!(at(site.address).await.unwrap().status(), StatusCode::UNAUTHORIZED, "at once where it was revoked");
    let began = tokio::time::Instant::now();
    while at(other).await.unwrap().status() != StatusCode::UNAUTHORIZED {
        assert!(began.elapsed() < Duration::from_secs(1), "still accepted elsewhere");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let unknown = site.form("/v1/token/revoke", &[("token", "whatever")]).await;
    assert_eq!(unknown.status(), StatusCode::OK, "a token that is none is revoked already");
    let none = site.form("/v1/token/revoke", &[]).await;
    assert_eq!(refusal(none, StatusCode::BAD_REQUEST).await, "invalid_request");
}

#[tokio::test]
async fn an_expired_access_token_is_refused() {
    let site = Site::start().await;
    site.user("ann").await;
    let token = site.access_token("ann").await;
    site.clock.advance(Duration::from_secs(901));
    let response = site.request_as(&token, Method::GET, "/v1/users/me").send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer error=\"invalid_token\"");
    assert_eq!(problem(response).await.1, "invalid_token");
}

#[tokio::test]
async fn introspection_tells_an_authenticated_caller_what_a_token_is() {
    let site = Site::start().await;
    let user = site.user("ann").await;
    let signed_in = site.sign_in("ann").await;
    let ask = async |asker: Option<&str>, fields: &[(&str, &str)]| {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = site.stranger(Method::POST, "/v1/token/introspect").body(body.join("&"));
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(asker) = asker {
            request = request.bearer_auth(asker);
        }
        request.send().await.unwrap()
    };
    let (access, refresh) = (text(&signed_in, "access_token"), text(&signed_in, "refresh_token"));
    let told: Value = ask(Some(ADMIN), &[("token", access)]).await.json().await.unwrap();
    assert_eq!((&told["active"], &told["sub"], &told["username"]), (&json!(true), &json!(user.id), &json!("ann")));
    assert_eq!((&told["token_type"], &told["iss"]), (&json!("Bearer"), &json!("http://127.0.0.1:8080")));
    assert_eq!(told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap(), 900);
    assert_eq!(told["tenant"], json!(user.tenant));

    let nothing = json!({"active": false});
    let told: Value = ask(Some(ADMIN), &[("token", refresh)]).await.json().await.unwrap();
    assert_eq!(told, nothing, "nobody may take a refresh token for one that makes requests");
    let hinted = [("token", refresh), ("token_type_hint", "refresh_token")];
    let told: Value = ask(Some(ADMIN), &hinted).await.json().await.unwrap();
    assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("refresh_token")));
    for token in ["garbage", "sl_none", "slr_none", "a.b.c"] {
        let told: Value = ask(Some(access), &[("token", token)]).await.json().await.unwrap();
        assert_eq!(told, nothing, "{token}");
    }
    let stranger = ask(None, &[("token", access)]).await;
    assert_eq!(stranger.headers()["www-authenticate"], "Bearer");
    assert_eq!(refusal(stranger, StatusCode::UNAUTHORIZED).await, "invalid_client");
    let nobody = ask(Some("sl_none"), &[("token", access)]).await;
    assert_eq!(refusal(nobody, StatusCode::UNAUTHORIZED).await, "invalid_client");
}

#[tokio::test]
async fn the_published_keys_verify_what_is_signed_and_have_no_private_half() {
    let site = Site::start().await;
    site.user("ann").await;
    let token = site.access_token("ann").await;
    let response = site.stranger(Method::GET, "/.well-known/jwks.json").send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "public, max-age=300");
    let keys: Value = response.json().await.unwrap();
    let header = token.split('.').next().unwrap();
    let header = String::from_utf8(unbase64(header)).unwrap();
    let header: Value = serde_json::from_str(&header).unwrap();
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")));
    assert!(key["d"].is_null());
}

/// Reads base64url without padding.
fn unbase64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes() {
        let six = LETTERS.iter().position(|known| *known == letter).unwrap();
        bits = bits << 6 | u32::try_from(six).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}

#[tokio::test]
async fn guessing_is_slowed_down_with_a_time_to_try_again() {
    let site = Site::start().await;
    site.user("ann").await;
    let wrong = [("grant_type", "password"), ("username", "ann"), ("password", "wrong")];
    let mut slowed = None;
    for _ in 0..20 {
        let response = grant(&site, &wrong).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            slowed = Some(response);
            break;
        }
    }
    let slowed = slowed.expect("guessing is slowed down");
    assert!(slowed.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(refusal(slowed, StatusCode::TOO_MANY_REQUESTS).await, "slow_down");
}
