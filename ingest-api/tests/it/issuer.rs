//! A provider whose keys the tests hold: it publishes what a provider does, and says whatever a test has it say.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the service is called there.
pub const CLIENT: &str = "sightline-web";
/// What it proves that with.
pub const SECRET: &str = "a-secret-of-the-client";

/// A key of the provider's, or of somebody who would like to be it.
pub struct Key {
    pub kid: String,
    pair: KeyPair,
}

impl Key {
    pub fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    /// The public key, as it is published.
    pub fn jwk(&self) -> Value {
        let point = self.pair.der_bytes();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": x, "y": y})
    }

    /// The public key's bytes, which everybody knows.
    pub fn public(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    pub fn pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// Any header and claims with a sound signature of this key.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }

    /// A token of this key as it should be.
    pub fn token(&self, claims: &Value) -> String {
        self.signed(&self.header(), claims)
    }

    pub fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "JWT", "kid": self.kid})
    }
}

/// What is signed of a token.
pub fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// The same with something else in one place; without it where that is null.
pub fn with(value: &Value, key: &str, new: Value) -> Value {
    let mut value = value.clone();
    match new {
        Value::Null => drop(value.as_object_mut().unwrap().remove(key)),
        new => value[key] = new,
    }
    value
}

/// How the provider answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// With a failure.
    Broken,
    /// With more than anybody wants to read.
    Endless,
    /// By sending elsewhere.
    Elsewhere,
    /// As another provider.
    Impostor,
}

pub struct Issuer {
    pub url: String,
    pub key: Key,
    mood: Mutex<Mood>,
    published: Mutex<Vec<Value>>,
    fetched: AtomicUsize,
    /// What the token endpoint answers next.
    answers: Mutex<VecDeque<(StatusCode, Value)>>,
    /// What it was asked with, and as whom.
    asked: Mutex<Vec<(String, Option<String>)>>,
}

impl Issuer {
    pub async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = Key::new("one");
        let issuer = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            published: Mutex::new(vec![key.jwk()]),
            key,
            mood: Mutex::new(Mood::Well),
            fetched: AtomicUsize::new(0),
            answers: Mutex::default(),
            asked: Mutex::default(),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/elsewhere", get(elsewhere))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .with_state(Arc::clone(&issuer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        issuer
    }

    /// The flags of a service that has it for its provider.
    pub fn flags(&self) -> Vec<String> {
        ["--oidc-issuer", &self.url, "--oidc-client-id", CLIENT, "--oidc-client-secret", SECRET]
            .map(str::to_owned)
            .to_vec()
    }

    /// What it publishes of itself, as an issuer of this name.
    fn metadata(&self, called: &str) -> Value {
        let own = &self.url;
        json!({
            "issuer": called,
            "authorization_endpoint": format!("{own}/authorize"),
            "token_endpoint": format!("{own}/token"),
            "jwks_uri": format!("{own}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "HS256"],
        })
    }

    /// What a good token says.
    pub fn claims(&self) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": self.url, "sub": "ann-at-the-provider", "aud": CLIENT, "iat": now, "exp": now + 300,
            "email": "ann@example.org", "email_verified": true, "name": "Ann Miller",
        })
    }

    pub fn feel(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Publishes one more key.
    pub fn publish(&self, key: &Key) {
        self.published.lock().unwrap().push(key.jwk());
    }

    /// How often its keys were fetched.
    pub fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    /// Has the token endpoint answer this next.
    pub fn will_answer(&self, status: u16, answer: Value) {
        self.answers.lock().unwrap().push_back((StatusCode::from_u16(status).unwrap(), answer));
    }

    pub fn forget_answers(&self) {
        self.answers.lock().unwrap().clear();
    }

    /// What the token endpoint was last asked with, and as whom.
    pub fn was_asked(&self) -> (String, Option<String>) {
        self.asked.lock().unwrap().pop().expect("the token endpoint was asked")
    }

    pub fn was_not_asked(&self) -> bool {
        self.asked.lock().unwrap().is_empty()
    }
}

async fn metadata(State(issuer): State<Arc<Issuer>>) -> Response {
    let mood = *issuer.mood.lock().unwrap();
    let known = |own: &str| issuer.metadata(own).to_string();
    let json = |text: String| ([("content-type", "application/json")], text).into_response();
    match mood {
        Mood::Well => json(known(&issuer.url)),
        Mood::Impostor => json(known("https://accounts.example")),
        Mood::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        // Sound, if one reads to the end.
        Mood::Endless => json(known(&issuer.url) + &" ".repeat(2 << 20)),
        Mood::Elsewhere => (StatusCode::FOUND, [("location", format!("{}/elsewhere", issuer.url))]).into_response(),
    }
}

/// Sound, if one follows.
async fn elsewhere(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(issuer.metadata(&issuer.url))
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    issuer.fetched.fetch_add(1, Ordering::SeqCst);
    Json(json!({"keys": *issuer.published.lock().unwrap()}))
}

async fn token(State(issuer): State<Arc<Issuer>>, headers: HeaderMap, form: Bytes) -> Response {
    let proof = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    issuer.asked.lock().unwrap().push((String::from_utf8(form.to_vec()).unwrap(), proof));
    let (status, answer) = issuer.answers.lock().unwrap().pop_front().expect("a test says what is answered");
    (status, Json(answer)).into_response()
}
