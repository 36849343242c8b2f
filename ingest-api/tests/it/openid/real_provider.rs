//! Sign-in against a certified OpenID provider on this machine (`scripts/servers start oidc`): its pages, forms and tokens.
//! The provider accepts any user name; each test uses its own.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, StatusCode, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testing::openid_provider::{CLIENT_SECRET, SigningKey, message, with};
use uuid::Uuid;

use crate::openid::code_flow::{SignIn, browser, callback, start_sign_in};
use crate::support::{TestServer, problem};

/// Redirect URI of a phone app.
const PHONE: &str = "org.example.phone:/back";

fn issuer() -> String {
    std::env::var("SIGHTLINE_TEST_OIDC_ISSUER").expect("SIGHTLINE_TEST_OIDC_ISSUER is not set; run `make test-real`")
}

async fn server_with(flags: &[&str]) -> TestServer {
    let issuer = issuer();
    let usual = ["--oidc-issuer", &issuer, "--oidc-audiences", "sightline-phone", "--sign-ins-per-address", "100000"];
    TestServer::with_flags(&[&usual, flags].concat()).await
}

const WEB: [&str; 4] = ["--oidc-client-id", "sightline-web", "--oidc-client-secret", CLIENT_SECRET];

/// A user name that no other test uses.
fn name() -> String {
    format!("ann-{}", Uuid::new_v4().simple())
}

/// A browser with the provider's cookies, and its user's name.
struct Visitor {
    client: Client,
    name: String,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    fn new(name: &str) -> Self {
        Self { client: browser(), name: name.to_owned(), cookies: BTreeMap::new() }
    }

    /// Follows redirects and fills in the provider's forms until it is redirected to an address with this prefix.
    async fn walk(&mut self, from: &Url, to: &str) -> Url {
        let mut here = from.clone();
        let mut response = self.send(self.client.get(here.clone())).await;
        for _ in 0..20 {
            if let Some(location) = response.headers().get(LOCATION) {
                let location = location.to_str().unwrap();
                if location.starts_with(to) {
                    return location.parse().unwrap();
                }
                here = here.join(location).unwrap();
                response = self.send(self.client.get(here.clone())).await;
                continue;
            }
            let page = response.text().await.unwrap();
            let action = between(&page, "action=\"", "\"").unwrap_or_else(|| panic!("no form at {here}: {page}"));
            let form = match between(&page, "name=\"prompt\" value=\"", "\"") {
                Some("login") => format!("prompt=login&login={}&password=any", self.name),
                Some("consent") => "prompt=consent".to_owned(),
                other => panic!("another page: {other:?}"),
            };
            here = here.join(action).unwrap();
            let post = self.client.post(here.clone()).header("content-type", "application/x-www-form-urlencoded");
            response = self.send(post.body(form)).await;
        }
        panic!("too many redirects of the provider: {here}");
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Response {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header(COOKIE, cookies.join("; ")).send().await.unwrap();
        self.keep(response.headers());
        response
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            match value {
                "" => drop(self.cookies.remove(name)),
                value => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

/// The parameters of the callback.
fn fields(back: &Url) -> Vec<(String, String)> {
    back.query_pairs().into_owned().collect()
}

async fn back_at(server: &TestServer, sign_in: &SignIn, back: &Url) -> Response {
    let fields = fields(back);
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    callback(server.address, Some(&sign_in.cookie), &fields).await
}

/// Signs in at the provider and returns the tokens.
async fn sign_in(server: &TestServer, visitor: &mut Visitor) -> Value {
    let sign_in = start_sign_in(server.address, "").await;
    let back = visitor.walk(&sign_in.authorize_url, sign_in.params()["redirect_uri"].as_str()).await;
    let response = back_at(server, &sign_in, &back).await;
    let (status, answer) = (response.status(), response.json().await.unwrap());
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn me(server: &TestServer, grant: &Value) -> Value {
    let token = grant["access_token"].as_str().unwrap();
    server.get_as(token, "/v1/users/me").await.json().await.unwrap()
}

#[tokio::test]
#[ignore = "needs an OpenID provider"]
async fn a_browser_signs_in_at_a_real_provider() {
    let server = server_with(&WEB).await;
    let (name, other) = (name(), name());
    let mut visitor = Visitor::new(&name);
    let user = me(&server, &sign_in(&server, &mut visitor).await).await;
    assert_eq!(user["email"], format!("{name}@people.example"));
    assert_eq!(user["full_name"], format!("Name of {name}"));
    let again = me(&server, &sign_in(&server, &mut visitor).await).await;
    assert_eq!(again["id"], user["id"], "the same person is the same user");
    let another = me(&server, &sign_in(&server, &mut Visitor::new(&other)).await).await;
    assert_ne!(another["id"], user["id"]);
    let unproven = me(&server, &sign_in(&server, &mut Visitor::new(&format!("unproven-{name}"))).await).await;
    assert_eq!(unproven["email"], Value::Null);
}

#[tokio::test]
#[ignore = "needs an OpenID provider"]
async fn a_public_client_needs_no_secret() {
    let server = server_with(&["--oidc-client-id", "sightline-open"]).await;
    let name = name();
    let user = me(&server, &sign_in(&server, &mut Visitor::new(&name)).await).await;
    assert_eq!(user["email"], format!("{name}@people.example"));
}

#[tokio::test]
#[ignore = "needs an OpenID provider"]
async fn a_code_works_once_and_in_its_own_browser() {
    let server = server_with(&WEB).await;
    let mut visitor = Visitor::new(&name());
    let sign_in = start_sign_in(server.address, "").await;
    let back = visitor.walk(&sign_in.authorize_url, sign_in.params()["redirect_uri"].as_str()).await;
    let code = fields(&back).into_iter().find(|(name, _)| name == "code").unwrap().1;

    // An attacker sends a stolen code in a sign-in of its own, so the code verifier differs.
    let attacker = start_sign_in(server.address, "").await;
    let stolen = [("code", code.as_str()), ("state", &attacker.params()["state"])];
    let (status, refused, _) = problem(callback(server.address, Some(&attacker.cookie), &stolen).await).await;
    assert_eq!((status, refused.as_str()), (StatusCode::FORBIDDEN, "sign_in_refused"));
    let own = fields(&back);
    let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for cookie in [None, Some(attacker.cookie.as_str())] {
        assert_eq!(problem(callback(server.address, cookie, &own).await).await.1, "sign_in_not_begun");
    }

    let sign_in = start_sign_in(server.address, "").await;
    let back = visitor.walk(&sign_in.authorize_url, sign_in.params()["redirect_uri"].as_str()).await;
    assert_eq!(back_at(&server, &sign_in, &back).await.status(), StatusCode::OK);
    assert_eq!(
        problem(back_at(&server, &sign_in, &back).await).await.1,
        "sign_in_refused",
        "a callback cannot be repeated"
    );
}

#[tokio::test]
#[ignore = "needs an OpenID provider"]
async fn without_consent_the_sign_in_fails() {
    let server = server_with(&WEB).await;
    let sign_in = start_sign_in(server.address, "").await;
    let mut visitor = Visitor::new(&name());
    let first = visitor.send(visitor.client.get(sign_in.authorize_url.clone())).await;
    let here = sign_in.authorize_url.join(first.headers()[LOCATION].to_str().unwrap()).unwrap();
    let abort: Url = format!("{here}/abort").parse().unwrap();
    let back = visitor.walk(&abort, sign_in.params()["redirect_uri"].as_str()).await;
    let (_, code, detail) = problem(back_at(&server, &sign_in, &back).await).await;
    assert_eq!(code, "sign_in_refused");
    assert!(detail.contains("access_denied"), "{detail}");
}

#[tokio::test]
#[ignore = "needs an OpenID provider"]
async fn a_wrong_client_secret_gives_503() {
    let server = server_with(&["--oidc-client-id", "sightline-web", "--oidc-client-secret", "another"]).await;
    let sign_in = start_sign_in(server.address, "").await;
    let back = Visitor::new(&name()).walk(&sign_in.authorize_url, sign_in.params()["redirect_uri"].as_str()).await;
    assert_eq!(problem(back_at(&server, &sign_in, &back).await).await.1, "unavailable");
}

/// The tokens that a phone app gets from the provider under this client id.
async fn on_a_phone(client_id: &str, name: &str) -> Value {
    let verifier = URL_SAFE_NO_PAD.encode(Uuid::new_v4().to_string());
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
    let query = [
        ("client_id", client_id),
        ("redirect_uri", PHONE),
        ("response_type", "code"),
        ("scope", "openid email profile"),
        ("nonce", "of-the-phone"),
        ("state", "of-the-phone"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let there = Url::parse_with_params(&format!("{}/auth", issuer()), query).unwrap();
    let back = Visitor::new(name).walk(&there, PHONE).await;
    let code = fields(&back).into_iter().find(|(name, _)| name == "code").unwrap().1;
    let form = format!(
        "grant_type=authorization_code&client_id={client_id}&redirect_uri={}&code={code}&code_verifier={verifier}",
        PHONE.replace(':', "%3A").replace('/', "%2F")
    );
    let post =
        browser().post(format!("{}/token", issuer())).header("content-type", "application/x-www-form-urlencoded");
    post.body(form).send().await.unwrap().json().await.unwrap()
}

async fn show(server: &TestServer, token: &str, nonce: Option<&str>) -> Response {
    let body = match nonce {
        Some(nonce) => json!({"id_token": token, "nonce": nonce}),
        None => json!({"id_token": token}),
    };
    server.post_anonymously("/v1/oidc/id-token", &body).await
}

#[tokio::test]
#[ignore = "needs an OpenID provider"]
async fn a_phone_app_signs_in_and_forgeries_are_refused() {
    let server = server_with(&WEB).await;
    let name = name();
    let tokens = on_a_phone("sightline-phone", &name).await;
    let good = tokens["id_token"].as_str().unwrap();
    let published = browser().get(format!("{}/jwks", issuer())).send().await.unwrap();
    let published: Value = published.json().await.unwrap();
    for (kind, token) in forgeries(good, &published["keys"][0]) {
        let (status, code, detail) = problem(show(&server, &token, None).await).await;
        assert_eq!((status.as_u16(), code.as_str()), (401, "invalid_id_token"), "{kind}: {detail}");
    }
    let access_token = tokens["access_token"].as_str().unwrap();
    assert_eq!(problem(show(&server, access_token, None).await).await.1, "invalid_id_token", "an access token");
    let other_client = on_a_phone("somebody-else", &name).await;
    let (_, code, detail) = problem(show(&server, other_client["id_token"].as_str().unwrap(), None).await).await;
    assert!(code == "invalid_id_token" && detail.contains("another client"), "{detail}");
    assert_eq!(problem(show(&server, good, Some("another")).await).await.1, "invalid_id_token");

    let shown = show(&server, good, Some("of-the-phone")).await;
    assert_eq!(shown.status(), StatusCode::OK, "the forgeries vary a valid token");
    let by_phone = me(&server, &shown.json().await.unwrap()).await;
    let by_browser = me(&server, &sign_in(&server, &mut Visitor::new(&name)).await).await;
    assert_eq!(by_phone["id"], by_browser["id"], "both sign-ins are of the same user");
}

/// Tokens that differ from a valid one in one detail, as far as that is possible without the provider's key.
fn forgeries(good: &str, key: &Value) -> Vec<(&'static str, String)> {
    let parts: Vec<&str> = good.split('.').collect();
    let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let (header, claims, signature) = (read(parts[0]), read(parts[1]), parts[2]);
    let attacker = SigningKey::new(key["kid"].as_str().unwrap());
    let es256 = with(&header, "alg", json!("ES256"));
    let mut forged = vec![
        ("truncated", good[..good.len() - 2].to_owned()),
        ("no signature", format!("{}.{}", parts[0], parts[1])),
        ("another subject", format!("{}.{signature}", message(&header, &with(&claims, "sub", json!("bob"))))),
        (
            "of a far expiry",
            format!("{}.{signature}", message(&header, &with(&claims, "exp", json!(9_999_999_999_u64)))),
        ),
        ("alg none", format!("{}.", message(&with(&header, "alg", json!("none")), &claims))),
        (
            "alg none, with the signature",
            format!("{}.{signature}", message(&with(&header, "alg", json!("none")), &claims)),
        ),
        ("another key under its id", attacker.signed(&es256, &claims)),
        ("an embedded key", attacker.signed(&with(&es256, "jwk", attacker.jwk()), &claims)),
    ];
    let hs256 = with(&header, "alg", json!("HS256"));
    for secret in [key["n"].as_str().unwrap().to_owned(), key.to_string(), CLIENT_SECRET.to_owned()] {
        let message = message(&hs256, &claims);
        let secret = EncodingKey::from_secret(secret.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &secret, Algorithm::HS256).unwrap();
        forged.push(("HS256 with a known secret", format!("{message}.{signature}")));
    }
    forged
}
