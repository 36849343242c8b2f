//! Signing in through the provider's pages, as browsers do: the way there, the way back, and everything that may be wrong
//! with a way back. The provider is the tests' own; `openid_provider.rs` walks the same way with a real one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::issuer::{CLIENT, Issuer, SECRET, with};
use crate::site::{Site, problem};

const PAGE: &str = "https://app.example/signed-in";

async fn start_with(more: &[&str]) -> (Arc<Issuer>, Site) {
    let issuer = Issuer::start().await;
    let flags = issuer.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let site = Site::with(&flags).await;
    (issuer, site)
}

async fn start() -> (Arc<Issuer>, Site) {
    start_with(&["--oidc-return-urls", PAGE, "--oidc-audiences", "our-phones"]).await
}

/// A browser that follows nothing by itself.
pub fn browser() -> Client {
    Client::builder().no_proxy().redirect(Policy::none()).build().unwrap()
}

/// What a browser has after it was led to the provider.
pub struct Begun {
    /// The provider's page.
    pub there: Url,
    /// What it brings along when it comes back.
    pub cookie: String,
    /// The cookie's line, whole.
    pub line: String,
}

impl Begun {
    /// What the provider was asked.
    pub fn asked(&self) -> HashMap<String, String> {
        self.there.query_pairs().into_owned().collect()
    }
}

/// Begins a sign-in.
pub async fn begin(address: SocketAddr, query: &str) -> Begun {
    let response = browser().get(format!("http://{address}/v1/oidc/login{query}")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{}", response.text().await.unwrap());
    assert_eq!(response.headers()["cache-control"], "no-store");
    let line = response.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    let there = response.headers()[LOCATION].to_str().unwrap().parse().unwrap();
    Begun { there, cookie: line.split(';').next().unwrap().to_owned(), line }
}

/// Comes back from the provider with these.
pub async fn come_back(address: SocketAddr, cookie: Option<&str>, fields: &[(&str, &str)]) -> Response {
    let url = Url::parse_with_params(&format!("http://{address}/v1/oidc/callback"), fields).unwrap();
    let request = browser().get(url);
    let request = match cookie {
        Some(cookie) => request.header(COOKIE, cookie),
        None => request,
    };
    request.send().await.unwrap()
}

/// What the token endpoint gives for a code: an ID token with these claims, for the nonce that was asked with.
fn tokens(issuer: &Issuer, begun: &Begun, claims: &Value) -> Value {
    let claims = match &claims["nonce"] {
        Value::Null => with(claims, "nonce", json!(begun.asked()["nonce"])),
        _ => claims.clone(),
    };
    json!({"access_token": "at-of-the-provider", "token_type": "Bearer", "expires_in": 60, "id_token": issuer.key.token(&claims)})
}

#[tokio::test]
async fn a_browser_goes_to_the_provider_and_comes_back_signed_in() {
    let (issuer, site) = start().await;
    let begun = begin(site.address, "").await;
    for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/;", "; Max-Age=600"] {
        assert!(begun.line.contains(part), "{}", begun.line);
    }
    let asked = begun.asked();
    let callback = "http://127.0.0.1:8080/v1/oidc/callback";
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", callback),
        ("code_challenge_method", "S256"),
        ("scope", "openid email profile"),
    ] {
        assert_eq!(asked[name], value, "{name}");
    }
    issuer.will_answer(200, tokens(&issuer, &begun, &issuer.claims()));
    let fields = [("code", "abc"), ("state", &asked["state"]), ("scope", "email openid"), ("iss", &issuer.url)];
    let back = come_back(site.address, Some(&begun.cookie), &fields).await;
    assert_eq!(back.status(), StatusCode::OK);
    assert_eq!(back.headers()["cache-control"], "no-store");
    assert_eq!(back.headers()["referrer-policy"], "no-referrer");
    let line = back.headers()[SET_COOKIE].to_str().unwrap();
    assert!(line.starts_with("sightline_oidc=; ") && line.contains("Max-Age=0"), "{line}");
    let grant: Value = back.json().await.unwrap();
    let me = site.request_as(grant["access_token"].as_str().unwrap(), reqwest::Method::GET, "/v1/users/me");
    assert_eq!(me.send().await.unwrap().json::<Value>().await.unwrap()["email"], "ann@example.org");

    let (form, proof) = issuer.was_asked();
    let form: HashMap<String, String> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    assert_eq!((form["grant_type"].as_str(), form["code"].as_str()), ("authorization_code", "abc"));
    assert_eq!(form["redirect_uri"], callback);
    assert_eq!(asked["code_challenge"], URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"])));
    assert_eq!(proof.unwrap(), format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}"))));
    assert!(!form.contains_key("client_secret"));
}

#[tokio::test]
async fn a_way_back_that_this_browser_has_not_begun_leads_nowhere() {
    let (issuer, site) = start().await;
    let (one, other) = (begin(site.address, "").await, begin(site.address, "").await);
    let (state, strange) = (&one.asked()["state"], &other.asked()["state"]);
    let fields = [("code", "abc"), ("state", state.as_str())];
    for (cookie, fields) in [
        (None, &fields[..]),
        (Some(other.cookie.as_str()), &fields[..]),
        (Some(&one.cookie), &[("code", "abc"), ("state", strange)]),
        (Some(&one.cookie), &[("code", "abc"), ("state", "")]),
        (Some(&one.cookie), &[("code", "abc")]),
        (Some("sightline_oidc=made-up"), &fields[..]),
    ] {
        let (status, code, _) = problem(come_back(site.address, cookie, fields).await).await;
        assert_eq!((status, code.as_str()), (StatusCode::FORBIDDEN, "sign_in_not_begun"), "{cookie:?} {fields:?}");
    }
    site.clock.advance(Duration::from_secs(601));
    let late = problem(come_back(site.address, Some(&one.cookie), &fields).await).await;
    assert_eq!(late.1, "sign_in_not_begun");
    assert!(issuer.was_not_asked(), "no code of a stranger's is shown to the provider");
}

#[tokio::test]
async fn what_the_provider_gives_must_belong_to_this_very_sign_in() {
    let (issuer, site) = start().await;
    let good = issuer.claims();
    // Half of the SHA-256 of the access token above.
    let right = URL_SAFE_NO_PAD.encode(&Sha256::digest("at-of-the-provider")[..16]);
    for (kind, claims, taken) in [
        ("with the hash of its access token", with(&good, "at_hash", json!(right)), true),
        ("with the hash of another", with(&good, "at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")), false),
        ("of another sign-in", with(&good, "nonce", json!("another")), false),
        ("for an app of ours", with(&good, "aud", json!("our-phones")), false),
        ("asked by an app of ours", with(&good, "azp", json!("our-phones")), false),
        ("expired", with(&good, "exp", json!(1)), false),
    ] {
        let begun = begin(site.address, "").await;
        issuer.will_answer(200, tokens(&issuer, &begun, &claims));
        let state = begun.asked()["state"].clone();
        let back = come_back(site.address, Some(&begun.cookie), &[("code", "abc"), ("state", &state)]).await;
        if taken {
            assert_eq!(back.status(), StatusCode::OK, "{kind}");
        } else {
            assert_eq!(problem(back).await.1, "invalid_id_token", "{kind}");
        }
    }
}

#[tokio::test]
async fn what_the_provider_refuses_is_told_and_not_repeated_word_for_word() {
    let (issuer, site) = start().await;
    let answered = async |fields: &[(&str, &str)], status, answer: Value| {
        let begun = begin(site.address, "").await;
        let asked = begun.asked();
        issuer.will_answer(status, answer);
        let fields = [fields, &[("state", asked["state"].as_str())]].concat();
        problem(come_back(site.address, Some(&begun.cookie), &fields).await).await
    };
    let code: &[(&str, &str)] = &[("code", "abc")];
    let (_, refused, detail) = answered(&[("error", "access_denied")], 200, json!({})).await;
    assert_eq!(refused, "sign_in_refused");
    assert!(detail.contains("access_denied"), "{detail}");
    let (_, refused, detail) = answered(&[("error", "<script>")], 200, json!({})).await;
    assert!(refused == "sign_in_refused" && !detail.contains("script"), "{detail}");
    assert_eq!(answered(&[], 200, json!({})).await.1, "sign_in_refused");
    let mixed_up: &[(&str, &str)] = &[("code", "abc"), ("iss", "https://thief.example")];
    assert_eq!(answered(mixed_up, 200, json!({})).await.1, "sign_in_refused");
    assert!(issuer.was_not_asked());
    issuer.forget_answers();

    let spent = json!({"error": "invalid_grant", "error_description": "code abc was used"});
    let (status, refused, detail) = answered(code, 400, spent).await;
    assert_eq!((status, refused.as_str()), (StatusCode::FORBIDDEN, "sign_in_refused"));
    assert!(!detail.contains("abc"), "{detail}");
    assert_eq!(answered(code, 401, json!({"error": "invalid_client"})).await.1, "unavailable");
    assert_eq!(answered(code, 200, json!({"token": "at-of-the-provider"})).await.1, "unavailable");
    let none = json!({"access_token": "at-of-the-provider", "token_type": "Bearer"});
    assert_eq!(answered(code, 200, none).await.1, "invalid_id_token");
}

#[tokio::test]
async fn a_page_that_the_operator_named_is_given_the_tokens_and_no_other_is() {
    let (issuer, site) = start().await;
    let begun = begin(site.address, &format!("?return_to={PAGE}&state=of+the+page")).await;
    let asked = begun.asked();
    assert_ne!(asked["state"], "of the page");
    issuer.will_answer(200, tokens(&issuer, &begun, &issuer.claims()));
    let back = come_back(site.address, Some(&begun.cookie), &[("code", "abc"), ("state", &asked["state"])]).await;
    assert_eq!(back.status(), StatusCode::SEE_OTHER);
    let page: Url = back.headers()[LOCATION].to_str().unwrap().parse().unwrap();
    assert!(page.as_str().starts_with(&format!("{PAGE}#")) && page.query().is_none());
    let behind: HashMap<String, String> =
        form_urlencoded::parse(page.fragment().unwrap().as_bytes()).into_owned().collect();
    assert_eq!((behind["state"].as_str(), behind["token_type"].as_str()), ("of the page", "Bearer"));
    assert!(behind["refresh_token"].starts_with("slr_"));
    let me = site.request_as(&behind["access_token"], reqwest::Method::GET, "/v1/users/me").send().await.unwrap();
    assert_eq!(me.status(), StatusCode::OK);

    let begun = begin(site.address, &format!("?return_to={PAGE}")).await;
    let state = begun.asked()["state"].clone();
    let back = come_back(site.address, Some(&begun.cookie), &[("error", "access_denied"), ("state", &state)]).await;
    let page = back.headers()[LOCATION].to_str().unwrap();
    assert!(page.starts_with(&format!("{PAGE}#error=sign_in_refused&error_description=")), "{page}");

    for other in
        ["https://app.example/", "https://app.example/signed-in/x", "https://thief.example/", "//thief", "", "x"]
    {
        let login = format!("http://{}/v1/oidc/login?return_to={other}", site.address);
        assert_eq!(problem(browser().get(login).send().await.unwrap()).await.1, "invalid", "{other}");
    }
}

#[tokio::test]
async fn any_instance_may_receive_who_comes_back() {
    let (issuer, mut site) = start().await;
    let other = site.other_process().await;
    let begun = begin(site.address, "").await;
    issuer.will_answer(200, tokens(&issuer, &begun, &issuer.claims()));
    let state = begun.asked()["state"].clone();
    let back = come_back(other, Some(&begun.cookie), &[("code", "abc"), ("state", &state)]).await;
    assert_eq!(back.status(), StatusCode::OK);
}

#[tokio::test]
async fn by_tls_the_cookie_is_of_this_host_alone() {
    let (_, site) = start_with(&["--oidc-callback-url", "https://sightline.example.org/v1/oidc/callback"]).await;
    let begun = begin(site.address, "").await;
    assert!(begun.line.starts_with("__Host-sightline_oidc=") && begun.line.ends_with("; Secure"), "{}", begun.line);
    assert_eq!(begun.asked()["redirect_uri"], "https://sightline.example.org/v1/oidc/callback");
}
