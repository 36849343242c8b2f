//! Signing in with an ID token, as mobile apps do: good ones, and forged ones that differ from a good one in one thing only.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use store::relational::AccessChange;

use crate::issuer::{Issuer, Key, Mood, SECRET, message, with};
use crate::site::{Site, problem};

const NONCE: &str = "of-this-sign-in";

async fn site_of(issuer: &Issuer, more: &[&str]) -> Site {
    let flags = issuer.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Site::with(&flags).await
}

async fn start() -> (Arc<Issuer>, Site) {
    let issuer = Issuer::start().await;
    let site = site_of(&issuer, &["--sign-ins-per-address", "100000"]).await;
    (issuer, site)
}

async fn post(site: &Site, body: &Value) -> Response {
    site.stranger(Method::POST, "/v1/oidc/id-token").json(body).send().await.unwrap()
}

async fn show(site: &Site, token: &str) -> Response {
    post(site, &json!({"id_token": token})).await
}

/// Who is signed in by this token.
async fn me(site: &Site, token: &str) -> Value {
    let response = show(site, token).await;
    assert_eq!(response.status(), StatusCode::OK);
    let grant: Value = response.json().await.unwrap();
    let access_token = grant["access_token"].as_str().unwrap();
    site.request_as(access_token, Method::GET, "/v1/users/me").send().await.unwrap().json().await.unwrap()
}

async fn refused(site: &Site, token: &str) -> (StatusCode, String) {
    let (status, code, _) = problem(show(site, token).await).await;
    (status, code)
}

#[tokio::test]
async fn an_id_token_of_the_provider_signs_in_and_one_person_is_one_user() {
    let (issuer, site) = start().await;
    let response = show(&site, &issuer.key.token(&issuer.claims())).await;
    assert_eq!(
        (response.status(), &response.headers()["cache-control"]),
        (StatusCode::OK, &"no-store".parse().unwrap())
    );
    let grant: Value = response.json().await.unwrap();
    assert_eq!(grant["token_type"], "Bearer");
    let renewed = [("grant_type", "refresh_token"), ("refresh_token", grant["refresh_token"].as_str().unwrap())];
    assert_eq!(site.form("/v1/token", &renewed).await.status(), StatusCode::OK);

    let ann = me(&site, &issuer.key.token(&issuer.claims())).await;
    assert_eq!((&ann["email"], &ann["full_name"]), (&json!("ann@example.org"), &json!("Ann Miller")));
    let moved = with(&issuer.claims(), "email", json!("ann@elsewhere.example"));
    assert_eq!(
        me(&site, &issuer.key.token(&moved)).await["id"],
        ann["id"],
        "known by her subject, whatever her address"
    );
    let bob = with(&with(&issuer.claims(), "sub", json!("bob")), "email", json!("bob@example.org"));
    assert_ne!(me(&site, &issuer.key.token(&bob)).await["id"], ann["id"]);

    let log = site.get(&format!("/v1/audit?user={}", ann["id"].as_str().unwrap())).await;
    let actions: Vec<&str> =
        log["items"].as_array().unwrap().iter().map(|item| item["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["signed_in", "signed_in", "signed_in", "identity_linked", "registered"]);
}

#[tokio::test]
async fn a_token_that_differs_from_a_good_one_in_one_thing_is_refused() {
    let (issuer, site) = start().await;
    let claims = with(&issuer.claims(), "nonce", json!(NONCE));
    let shown = async |token: &str| {
        let (status, code, detail) = problem(post(&site, &json!({"id_token": token, "nonce": NONCE})).await).await;
        (status.as_u16(), code, detail)
    };
    for (kind, token) in forgeries(&issuer, &claims) {
        let (status, code, detail) = shown(&token).await;
        assert_eq!((status, code.as_str()), (401, "invalid_id_token"), "{kind}: {detail}: {token}");
    }
    let users = site.get("/v1/users").await;
    assert_eq!(users["items"].as_array().unwrap().len(), 2, "nobody came of it: {users}");
    for claims in [&claims, &with(&claims, "azp", json!("sightline-web")), &with(&claims, "nbf", json!(0))] {
        let good = post(&site, &json!({"id_token": issuer.key.token(claims), "nonce": NONCE})).await;
        assert_eq!(good.status(), StatusCode::OK, "what the forgeries are made of: {claims}");
    }
    for wrong in [json!("another"), json!("")] {
        let other = post(&site, &json!({"id_token": issuer.key.token(&claims), "nonce": wrong})).await;
        assert_eq!(problem(other).await.1, "invalid_id_token");
    }
    assert_eq!(
        me(&site, &issuer.key.token(&claims)).await["email"],
        "ann@example.org",
        "without a nonce none is compared"
    );
}

fn forgeries(issuer: &Issuer, claims: &Value) -> Vec<(&'static str, String)> {
    let (key, header) = (&issuer.key, issuer.key.header());
    let good = key.token(claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let thief = Key::new(&key.kid);
    let now = Timestamp::now().as_second();
    let mut forged = vec![
        ("empty", String::new()),
        ("no signature", signed.to_owned()),
        ("an empty signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..43])),
        ("truncated", good[..good.len() - 2].to_owned()),
        ("a fourth part", format!("{good}.{signature}")),
        ("a signature of zeros", format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
        ("white space", format!(" {good}")),
        ("too long", key.token(&with(claims, "groups", json!("x".repeat(20_000))))),
        ("other claims", format!("{}.{signature}", message(&header, &with(claims, "sub", json!("bob"))))),
        ("another key under the same name", thief.token(claims)),
        ("an embedded key", thief.signed(&with(&header, "jwk", thief.jwk()), claims)),
        ("an address of keys", thief.signed(&with(&header, "jku", json!("https://thief.example/jwks")), claims)),
        ("a key that is not published", thief.signed(&with(&header, "kid", json!("two")), claims)),
        ("a key without a name, not the provider's", thief.signed(&with(&header, "kid", Value::Null), claims)),
        ("another type", key.signed(&with(&header, "typ", json!("at+jwt")), claims)),
        ("something critical", key.signed(&with(&header, "crit", json!(["exp"])), claims)),
    ];
    for alg in ["none", "None", "", "HS256", "RS256", "ES384"] {
        let header = with(&header, "alg", json!(alg));
        forged.push(("another algorithm, unsigned", format!("{}.", message(&header, claims))));
        forged.push(("another algorithm, the provider's signature", key.signed(&header, claims)));
    }
    forged.extend(confused(key, claims));
    for (kind, name, new) in [
        ("another issuer", "iss", json!("https://thief.example")),
        ("the issuer, nearly", "iss", json!(format!("{}/", issuer.url))),
        ("no issuer", "iss", Value::Null),
        ("another audience", "aud", json!("another")),
        ("two audiences, one of them ours", "aud", json!(["sightline-web", "another"])),
        ("our audience twice, asked by nobody", "aud", json!(["sightline-web", "sightline-web"])),
        ("no audience", "aud", json!([])),
        ("no audience at all", "aud", Value::Null),
        ("asked by another", "azp", json!("another")),
        ("expired", "exp", json!(now - 1)),
        ("no end", "exp", Value::Null),
        ("an end that is none", "exp", json!("tomorrow")),
        ("not yet valid", "nbf", json!(now + 3600)),
        ("issued tomorrow", "iat", json!(now + 86_400)),
        ("no time of issue", "iat", Value::Null),
        ("nobody", "sub", Value::Null),
        ("an empty name", "sub", json!("")),
        ("a name that no database takes", "sub", json!("a\0b")),
        ("a name without end", "sub", json!("x".repeat(300))),
        ("of another sign-in", "nonce", json!("of-another-sign-in")),
        ("of no sign-in", "nonce", Value::Null),
    ] {
        forged.push((kind, key.token(&with(claims, name, new))));
    }
    forged
}

/// What everybody knows of the provider's key, or we ourselves, taken for the secret of a symmetric algorithm.
fn confused(key: &Key, claims: &Value) -> Vec<(&'static str, String)> {
    let jwk = key.jwk();
    let secrets = [
        key.public().to_vec(),
        key.pem().into_bytes(),
        jwk["x"].as_str().unwrap().into(),
        jwk.to_string().into_bytes(),
    ];
    let secrets = secrets.into_iter().chain([SECRET.into()]);
    let headers = [with(&key.header(), "alg", json!("HS256")), json!({"alg": "HS256", "typ": "JWT"})];
    let sign = |secret: Vec<u8>| {
        headers.clone().map(|header| {
            let message = message(&header, claims);
            let signature =
                jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(&secret), Algorithm::HS256);
            ("HS256 with what is known", format!("{message}.{}", signature.unwrap()))
        })
    };
    secrets.flat_map(sign).collect()
}

#[tokio::test]
async fn tokens_of_other_clients_count_where_they_are_named() {
    let issuer = Issuer::start().await;
    let site = site_of(&issuer, &["--oidc-audiences", "our-phones,our-tablets"]).await;
    for (aud, azp, counts) in [
        (json!("our-phones"), None, true),
        (json!(["our-tablets"]), None, true),
        (json!("sightline-web"), Some("our-phones"), true),
        (json!(["sightline-web", "our-phones"]), Some("our-phones"), true),
        (json!(["sightline-web", "our-phones"]), None, false),
        (json!(["sightline-web", "another"]), Some("our-phones"), false),
        (json!("our-phones"), Some("another"), false),
        (json!("our-phones,our-tablets"), None, false),
    ] {
        let claims = with(&with(&issuer.claims(), "aud", aud), "azp", azp.map_or(Value::Null, Value::from));
        let answer = show(&site, &issuer.key.token(&claims)).await;
        assert_eq!(answer.status().is_success(), counts, "{claims}");
    }
}

#[tokio::test]
async fn an_account_is_never_signed_in_to_by_its_address() {
    let (issuer, site) = start().await;
    // Anybody may have registered with Ann's address, to wait for her.
    site.user("ann").await;
    let (status, code, detail) = problem(show(&site, &issuer.key.token(&issuer.claims())).await).await;
    assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "email_taken"));
    assert!(detail.contains("/v1/password/forgot") && detail.contains("/v1/users/me/identities"), "{detail}");
    let folded = with(&issuer.claims(), "email", json!("ANN@Example.org"));
    assert_eq!(refused(&site, &issuer.key.token(&folded)).await.1, "email_taken");

    for unproven in [json!(false), Value::Null, json!("false")] {
        let claims =
            with(&with(&issuer.claims(), "email_verified", unproven.clone()), "sub", json!(unproven.to_string()));
        let user = me(&site, &issuer.key.token(&claims)).await;
        assert_eq!(user["email"], Value::Null, "an address that is not proven is nobody's");
        assert!(user["username"].as_str().unwrap().starts_with("user-"), "{user}");
    }
    let log = site.get("/v1/audit").await.to_string();
    assert!(log.contains("sign_in_refused"), "{log}");
}

#[tokio::test]
async fn who_may_not_register_or_is_shut_out_is_told_so() {
    let issuer = Issuer::start().await;
    let closed = site_of(&issuer, &["--registration", "off"]).await;
    let token = issuer.key.token(&issuer.claims());
    assert_eq!(refused(&closed, &token).await, (StatusCode::FORBIDDEN, "not_registered".to_owned()));

    let site = site_of(&issuer, &[]).await;
    let ann = me(&site, &token).await["id"].as_str().unwrap().parse().unwrap();
    let shut_out = AccessChange { disabled: Some(true), ..AccessChange::default() };
    site.deps.directory.users.change_access(ann, &shut_out, &accounts::By::default()).await.unwrap();
    assert_eq!(refused(&site, &token).await, (StatusCode::FORBIDDEN, "disabled".to_owned()));
}

#[tokio::test]
async fn a_new_key_of_the_provider_counts_and_made_up_ones_do_not_wear_it_out() {
    let (issuer, site) = start().await;
    let new = Key::new("two");
    assert_eq!(refused(&site, &new.token(&issuer.claims())).await.1, "invalid_id_token");
    assert_eq!(issuer.fetched(), 1, "just fetched: it is too early to ask again");
    for number in 0..20 {
        let made_up = Key::new(&format!("made-up-{number}"));
        assert_eq!(refused(&site, &made_up.token(&issuer.claims())).await.1, "invalid_id_token");
    }
    assert_eq!(issuer.fetched(), 1);
    issuer.publish(&new);
    let later = site_of(&issuer, &[]).await;
    me(&later, &new.token(&issuer.claims())).await;
}

#[tokio::test]
async fn a_provider_that_is_away_or_talks_nonsense_is_waited_for() {
    let issuer = Issuer::start().await;
    let token = issuer.key.token(&issuer.claims());
    for mood in [Mood::Broken, Mood::Endless, Mood::Elsewhere, Mood::Impostor] {
        issuer.feel(mood);
        let site = site_of(&issuer, &[]).await;
        let answer = show(&site, &token).await;
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(problem(answer).await.1, "unavailable");
        let login = site.stranger(Method::GET, "/v1/oidc/login").send().await.unwrap();
        assert_eq!(problem(login).await.1, "unavailable");
        issuer.feel(Mood::Well);
        tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
        me(&site, &token).await;
    }
    let nowhere = ["--oidc-issuer", "http://127.0.0.1:9", "--oidc-client-id", "sightline-web"];
    let site = Site::with(&nowhere).await;
    assert_eq!(refused(&site, &token).await, (StatusCode::SERVICE_UNAVAILABLE, "unavailable".to_owned()));
}

#[tokio::test]
async fn attempts_are_counted_with_sign_ins_by_password() {
    let issuer = Issuer::start().await;
    let site = site_of(&issuer, &["--sign-ins-per-address", "6"]).await;
    site.user("bob").await;
    let mut left = 0;
    while refused(&site, "none").await.1 == "invalid_id_token" {
        left += 1;
        assert!(left < 10, "never slowed down");
    }
    assert_eq!(refused(&site, "none").await, (StatusCode::TOO_MANY_REQUESTS, "throttled".to_owned()));
    let fields = [("grant_type", "password"), ("username", "bob"), ("password", crate::site::PASSWORD)];
    assert_eq!(site.form("/v1/token", &fields).await.status(), StatusCode::TOO_MANY_REQUESTS);
    let callback = site.stranger(Method::GET, "/v1/oidc/callback?state=a&code=b").send().await.unwrap();
    assert_eq!(problem(callback).await.1, "throttled");
}

#[tokio::test]
async fn without_a_provider_there_is_no_such_sign_in() {
    let site = Site::start().await;
    for path in ["/v1/oidc/login", "/v1/oidc/callback"] {
        let answer = site.stranger(Method::GET, path).send().await.unwrap();
        let (status, code, detail) = problem(answer).await;
        assert_eq!((status, code.as_str()), (StatusCode::NOT_FOUND, "no_provider"));
        assert!(detail.contains("SIGHTLINE_OIDC_ISSUER"), "{detail}");
    }
    assert_eq!(refused(&site, "none").await, (StatusCode::NOT_FOUND, "no_provider".to_owned()));
}
