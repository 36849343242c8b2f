//! The authorization code flow with a test provider: the redirect to it, the callback, and invalid
//! callbacks. `real_provider.rs` runs the same flow against a certified provider.

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
use testing::openid_provider::{CLIENT_ID, CLIENT_SECRET, TestProvider, with};

use crate::support::{TestServer, problem};

const PAGE: &str = "https://app.example/signed-in";

async fn start_with(more: &[&str]) -> (Arc<TestProvider>, TestServer) {
    let provider = TestProvider::start().await;
    let flags = provider.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let server = TestServer::with_flags(&flags).await;
    (provider, server)
}

async fn start() -> (Arc<TestProvider>, TestServer) {
    start_with(&["--oidc-return-urls", PAGE, "--oidc-audiences", "our-phones"]).await
}

/// A client that follows no redirect.
pub fn browser() -> Client {
    Client::builder().no_proxy().redirect(Policy::none()).build().unwrap()
}

/// A started sign-in.
pub struct SignIn {
    /// Where the browser was redirected: the provider's authorization endpoint.
    pub authorize_url: Url,
    /// The cookie pair, as the browser sends it back.
    pub cookie: String,
    /// The whole `Set-Cookie` header.
    pub set_cookie: String,
}

impl SignIn {
    /// The parameters of the authorization request.
    pub fn params(&self) -> HashMap<String, String> {
        self.authorize_url.query_pairs().into_owned().collect()
    }
}

/// Requests `/v1/oidc/login` with this query.
pub async fn start_sign_in(address: SocketAddr, query: &str) -> SignIn {
    let response = browser().get(format!("http://{address}/v1/oidc/login{query}")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER, "{}", response.text().await.unwrap());
    assert_eq!(response.headers()["cache-control"], "no-store");
    let line = response.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    let authorize_url = response.headers()[LOCATION].to_str().unwrap().parse().unwrap();
    SignIn { authorize_url, cookie: line.split(';').next().unwrap().to_owned(), set_cookie: line }
}

/// Requests the callback with these parameters.
pub async fn callback(address: SocketAddr, cookie: Option<&str>, fields: &[(&str, &str)]) -> Response {
    let url = Url::parse_with_params(&format!("http://{address}/v1/oidc/callback"), fields).unwrap();
    let request = browser().get(url);
    let request = match cookie {
        Some(cookie) => request.header(COOKIE, cookie),
        None => request,
    };
    request.send().await.unwrap()
}

/// A response of the token endpoint: an ID token with these claims, and the nonce of this sign-in unless they have one.
fn tokens(provider: &TestProvider, sign_in: &SignIn, claims: &Value) -> Value {
    let claims = match &claims["nonce"] {
        Value::Null => with(claims, "nonce", json!(sign_in.params()["nonce"])),
        _ => claims.clone(),
    };
    json!({"access_token": "at-of-the-provider", "token_type": "Bearer", "expires_in": 60, "id_token": provider.key.token(&claims)})
}

#[tokio::test]
async fn a_browser_signs_in_through_the_provider() {
    let (provider, server) = start().await;
    let sign_in = start_sign_in(server.address, "").await;
    for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/;", "; Max-Age=600"] {
        assert!(sign_in.set_cookie.contains(part), "{}", sign_in.set_cookie);
    }
    let params = sign_in.params();
    let redirect_uri = "http://127.0.0.1:8080/v1/oidc/callback";
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", redirect_uri),
        ("code_challenge_method", "S256"),
        ("scope", "openid email profile"),
    ] {
        assert_eq!(params[name], value, "{name}");
    }
    provider.queue_response(200, tokens(&provider, &sign_in, &provider.claims()));
    let fields = [("code", "abc"), ("state", &params["state"]), ("scope", "email openid"), ("iss", &provider.url)];
    let back = callback(server.address, Some(&sign_in.cookie), &fields).await;
    assert_eq!(back.status(), StatusCode::OK);
    assert_eq!(back.headers()["cache-control"], "no-store");
    assert_eq!(back.headers()["referrer-policy"], "no-referrer");
    let line = back.headers()[SET_COOKIE].to_str().unwrap();
    assert!(line.starts_with("sightline_oidc=; ") && line.contains("Max-Age=0"), "{line}");
    let grant: Value = back.json().await.unwrap();
    let me = server.request_as(grant["access_token"].as_str().unwrap(), reqwest::Method::GET, "/v1/users/me");
    assert_eq!(me.send().await.unwrap().json::<Value>().await.unwrap()["email"], "ann@example.org");

    let (form, proof) = provider.last_token_request();
    let form: HashMap<String, String> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    assert_eq!((form["grant_type"].as_str(), form["code"].as_str()), ("authorization_code", "abc"));
    assert_eq!(form["redirect_uri"], redirect_uri);
    assert_eq!(params["code_challenge"], URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"])));
    assert_eq!(proof.unwrap(), format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"))));
    assert!(!form.contains_key("client_secret"));
}

#[tokio::test]
async fn a_callback_of_another_sign_in_is_refused() {
    let (provider, server) = start().await;
    let (one, other) = (start_sign_in(server.address, "").await, start_sign_in(server.address, "").await);
    let (state, strange) = (&one.params()["state"], &other.params()["state"]);
    let fields = [("code", "abc"), ("state", state.as_str())];
    for (cookie, fields) in [
        (None, &fields[..]),
        (Some(other.cookie.as_str()), &fields[..]),
        (Some(&one.cookie), &[("code", "abc"), ("state", strange)]),
        (Some(&one.cookie), &[("code", "abc"), ("state", "")]),
        (Some(&one.cookie), &[("code", "abc")]),
        (Some("sightline_oidc=made-up"), &fields[..]),
    ] {
        let (status, code, _) = problem(callback(server.address, cookie, fields).await).await;
        assert_eq!((status, code.as_str()), (StatusCode::FORBIDDEN, "sign_in_not_begun"), "{cookie:?} {fields:?}");
    }
    server.clock.advance(Duration::from_secs(601));
    let late = problem(callback(server.address, Some(&one.cookie), &fields).await).await;
    assert_eq!(late.1, "sign_in_not_begun");
    assert!(provider.has_no_token_request(), "the code of another sign-in is never sent to the provider");
}

#[tokio::test]
async fn the_id_token_must_belong_to_this_sign_in() {
    let (provider, server) = start().await;
    let good = provider.claims();
    // `at_hash` is the left half of the access token's SHA-256.
    let right = URL_SAFE_NO_PAD.encode(&Sha256::digest("at-of-the-provider")[..16]);
    for (kind, claims, accepted) in [
        ("right at_hash", with(&good, "at_hash", json!(right)), true),
        ("wrong at_hash", with(&good, "at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")), false),
        ("another nonce", with(&good, "nonce", json!("another")), false),
        ("audience is our app", with(&good, "aud", json!("our-phones")), false),
        ("authorized party is our app", with(&good, "azp", json!("our-phones")), false),
        ("expired", with(&good, "exp", json!(1)), false),
    ] {
        let sign_in = start_sign_in(server.address, "").await;
        provider.queue_response(200, tokens(&provider, &sign_in, &claims));
        let state = sign_in.params()["state"].clone();
        let back = callback(server.address, Some(&sign_in.cookie), &[("code", "abc"), ("state", &state)]).await;
        if accepted {
            assert_eq!(back.status(), StatusCode::OK, "{kind}");
        } else {
            assert_eq!(problem(back).await.1, "invalid_id_token", "{kind}");
        }
    }
}

#[tokio::test]
async fn provider_errors_are_reported_without_quoting_them() {
    let (provider, server) = start().await;
    let call_back = async |fields: &[(&str, &str)], status, answer: Value| {
        let sign_in = start_sign_in(server.address, "").await;
        let params = sign_in.params();
        provider.queue_response(status, answer);
        let fields = [fields, &[("state", params["state"].as_str())]].concat();
        problem(callback(server.address, Some(&sign_in.cookie), &fields).await).await
    };
    let code: &[(&str, &str)] = &[("code", "abc")];
    let (_, refused, detail) = call_back(&[("error", "access_denied")], 200, json!({})).await;
    assert_eq!(refused, "sign_in_refused");
    assert!(detail.contains("access_denied"), "{detail}");
    let (_, refused, detail) = call_back(&[("error", "<script>")], 200, json!({})).await;
    assert!(refused == "sign_in_refused" && !detail.contains("script"), "{detail}");
    assert_eq!(call_back(&[], 200, json!({})).await.1, "sign_in_refused");
    let mixed_up: &[(&str, &str)] = &[("code", "abc"), ("iss", "https://attacker.example")];
    assert_eq!(call_back(mixed_up, 200, json!({})).await.1, "sign_in_refused");
    assert!(provider.has_no_token_request());
    provider.clear_responses();

    let spent = json!({"error": "invalid_grant", "error_description": "code abc was used"});
    let (status, refused, detail) = call_back(code, 400, spent).await;
    assert_eq!((status, refused.as_str()), (StatusCode::FORBIDDEN, "sign_in_refused"));
    assert!(!detail.contains("abc"), "{detail}");
    assert_eq!(call_back(code, 401, json!({"error": "invalid_client"})).await.1, "unavailable");
    assert_eq!(call_back(code, 200, json!({"token": "at-of-the-provider"})).await.1, "unavailable");
    let none = json!({"access_token": "at-of-the-provider", "token_type": "Bearer"});
    assert_eq!(call_back(code, 200, none).await.1, "invalid_id_token");
}

#[tokio::test]
async fn only_configured_return_urls_receive_tokens() {
    let (provider, server) = start().await;
    let sign_in = start_sign_in(server.address, &format!("?return_to={PAGE}&state=page-state")).await;
    let params = sign_in.params();
    assert_ne!(params["state"], "page-state");
    provider.queue_response(200, tokens(&provider, &sign_in, &provider.claims()));
    let back = callback(server.address, Some(&sign_in.cookie), &[("code", "abc"), ("state", &params["state"])]).await;
    assert_eq!(back.status(), StatusCode::SEE_OTHER);
    let page: Url = back.headers()[LOCATION].to_str().unwrap().parse().unwrap();
    assert!(page.as_str().starts_with(&format!("{PAGE}#")) && page.query().is_none());
    let fragment: HashMap<String, String> =
        form_urlencoded::parse(page.fragment().unwrap().as_bytes()).into_owned().collect();
    assert_eq!((fragment["state"].as_str(), fragment["token_type"].as_str()), ("page-state", "Bearer"));
    assert!(fragment["refresh_token"].starts_with("slr_"));
    let me = server.request_as(&fragment["access_token"], reqwest::Method::GET, "/v1/users/me").send().await.unwrap();
    assert_eq!(me.status(), StatusCode::OK);

    let sign_in = start_sign_in(server.address, &format!("?return_to={PAGE}")).await;
    let state = sign_in.params()["state"].clone();
    let back = callback(server.address, Some(&sign_in.cookie), &[("error", "access_denied"), ("state", &state)]).await;
    let page = back.headers()[LOCATION].to_str().unwrap();
    assert!(page.starts_with(&format!("{PAGE}#error=sign_in_refused&error_description=")), "{page}");

    for other in
        ["https://app.example/", "https://app.example/signed-in/x", "https://attacker.example/", "//attacker", "", "x"]
    {
        let login = format!("http://{}/v1/oidc/login?return_to={other}", server.address);
        assert_eq!(problem(browser().get(login).send().await.unwrap()).await.1, "invalid", "{other}");
    }
}

#[tokio::test]
async fn any_instance_can_handle_the_callback() {
    let (provider, mut server) = start().await;
    let other = server.second_instance().await;
    let sign_in = start_sign_in(server.address, "").await;
    provider.queue_response(200, tokens(&provider, &sign_in, &provider.claims()));
    let state = sign_in.params()["state"].clone();
    let back = callback(other, Some(&sign_in.cookie), &[("code", "abc"), ("state", &state)]).await;
    assert_eq!(back.status(), StatusCode::OK);
}

#[tokio::test]
async fn over_https_the_cookie_is_secure_and_host_only() {
    let (_, server) = start_with(&["--oidc-callback-url", "https://sightline.example.org/v1/oidc/callback"]).await;
    let sign_in = start_sign_in(server.address, "").await;
    assert!(
        sign_in.set_cookie.starts_with("__Host-sightline_oidc=") && sign_in.set_cookie.ends_with("; Secure"),
        "{}",
        sign_in.set_cookie
    );
    assert_eq!(sign_in.params()["redirect_uri"], "https://sightline.example.org/v1/oidc/callback");
}
