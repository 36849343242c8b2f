//! An OpenID provider whose keys and responses the test controls.

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

/// Client id of the service at the provider.
pub const CLIENT_ID: &str = "sightline-web";

/// Client secret of the service.
pub const CLIENT_SECRET: &str = "a-secret-of-the-client";

/// An ES256 key pair of the provider or of an attacker.
pub struct SigningKey {
    /// Key id.
    pub kid: String,
    pair: KeyPair,
}

impl SigningKey {
    /// A new key pair with this id.
    pub fn new(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap() }
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let point = self.pair.der_bytes();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..65]));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": x, "y": y})
    }

    /// The public key as an uncompressed point.
    pub fn public(&self) -> &[u8] {
        self.pair.der_bytes()
    }

    /// The public key in PEM form.
    pub fn pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// A token with this header and these claims, and a valid signature.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let key = EncodingKey::from_ec_der(&self.pair.serialize_der());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }

    /// A token with the right header.
    pub fn token(&self, claims: &Value) -> String {
        self.signed(&self.header(), claims)
    }

    /// The header of a valid token.
    pub fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": "JWT", "kid": self.kid})
    }
}

/// The signed part of a token.
pub fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// A copy of `value` with `key` replaced, or removed where `new` is null.
pub fn with(value: &Value, key: &str, new: Value) -> Value {
    let mut value = value.clone();
    match new {
        Value::Null => drop(value.as_object_mut().unwrap().remove(key)),
        new => value[key] = new,
    }
    value
}

/// A fault of the provider's metadata.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ProviderFault {
    /// No fault.
    None,
    /// Status 500.
    ServerError,
    /// A body of 2 MiB.
    OversizedBody,
    /// A redirect to correct metadata.
    Redirect,
    /// Metadata of another issuer.
    WrongIssuer,
}

/// A provider on a port that the system picks.
pub struct TestProvider {
    /// Its issuer identifier.
    pub url: String,
    /// The key that it publishes from the start.
    pub key: SigningKey,
    fault: Mutex<ProviderFault>,
    published: Mutex<Vec<Value>>,
    fetched: AtomicUsize,
    /// Next responses of the token endpoint.
    responses: Mutex<VecDeque<(StatusCode, Value)>>,
    /// Bodies and `Authorization` headers of requests to the token endpoint.
    token_requests: Mutex<Vec<(String, Option<String>)>>,
}

impl TestProvider {
    /// Starts a provider.
    pub async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = SigningKey::new("one");
        let provider = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            published: Mutex::new(vec![key.jwk()]),
            key,
            fault: Mutex::new(ProviderFault::None),
            fetched: AtomicUsize::new(0),
            responses: Mutex::default(),
            token_requests: Mutex::default(),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/elsewhere", get(elsewhere))
            .route("/jwks", get(jwks))
            .route("/token", post(token))
            .with_state(Arc::clone(&provider));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    /// Flags of a service that uses this provider.
    pub fn flags(&self) -> Vec<String> {
        ["--oidc-issuer", &self.url, "--oidc-client-id", CLIENT_ID, "--oidc-client-secret", CLIENT_SECRET]
            .map(str::to_owned)
            .to_vec()
    }

    /// Its metadata, under this issuer.
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

    /// Claims of a valid token.
    pub fn claims(&self) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": self.url, "sub": "ann-at-the-provider", "aud": CLIENT_ID, "iat": now, "exp": now + 300,
            "email": "ann@example.org", "email_verified": true, "name": "Ann Miller",
        })
    }

    /// Its metadata has this fault from now on.
    pub fn set_fault(&self, fault: ProviderFault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Adds a key to the published ones.
    pub fn publish(&self, key: &SigningKey) {
        self.published.lock().unwrap().push(key.jwk());
    }

    /// Number of requests for its keys.
    pub fn key_fetches(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    /// Queues a response of the token endpoint.
    pub fn queue_response(&self, status: u16, response: Value) {
        self.responses.lock().unwrap().push_back((StatusCode::from_u16(status).unwrap(), response));
    }

    /// Removes the queued responses.
    pub fn clear_responses(&self) {
        self.responses.lock().unwrap().clear();
    }

    /// Body and `Authorization` header of the last request to the token endpoint.
    pub fn last_token_request(&self) -> (String, Option<String>) {
        self.token_requests.lock().unwrap().pop().expect("a request to the token endpoint")
    }

    /// Whether nobody called the token endpoint since [`Self::last_token_request`] took the last call.
    pub fn has_no_token_request(&self) -> bool {
        self.token_requests.lock().unwrap().is_empty()
    }
}

async fn metadata(State(provider): State<Arc<TestProvider>>) -> Response {
    let fault = *provider.fault.lock().unwrap();
    let known = |own: &str| provider.metadata(own).to_string();
    let json = |text: String| ([("content-type", "application/json")], text).into_response();
    match fault {
        ProviderFault::None => json(known(&provider.url)),
        ProviderFault::WrongIssuer => json(known("https://accounts.example")),
        ProviderFault::ServerError => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        // Valid metadata, padded beyond the size limit.
        ProviderFault::OversizedBody => json(known(&provider.url) + &" ".repeat(2 << 20)),
        ProviderFault::Redirect => {
            (StatusCode::FOUND, [("location", format!("{}/elsewhere", provider.url))]).into_response()
        }
    }
}

/// Valid metadata at another address.
async fn elsewhere(State(provider): State<Arc<TestProvider>>) -> Json<Value> {
    Json(provider.metadata(&provider.url))
}

async fn jwks(State(provider): State<Arc<TestProvider>>) -> Json<Value> {
    provider.fetched.fetch_add(1, Ordering::SeqCst);
    Json(json!({"keys": *provider.published.lock().unwrap()}))
}

async fn token(State(provider): State<Arc<TestProvider>>, headers: HeaderMap, form: Bytes) -> Response {
    let proof = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    provider.token_requests.lock().unwrap().push((String::from_utf8(form.to_vec()).unwrap(), proof));
    let (status, response) = provider.responses.lock().unwrap().pop_front().expect("a response queued by the test");
    (status, Json(response)).into_response()
}
