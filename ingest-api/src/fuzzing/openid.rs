//! Sign-in through an OpenID provider: the callback with its query and cookie, and ID tokens.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderValue, Request, StatusCode, Uri};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::LONGEST_PROBLEM;
use super::edge::{Answer, Edge};

const CLIENT_ID: &str = "sightline-web";
/// The first key of RFC 8032, section 7.1, as PKCS#8: it is public, and no provider uses it.
const PRIVATE_KEY: [u8; 48] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20, 0x9d, 0x61, 0xb1,
    0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32,
    0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// Placeholders of a sign-in in an input.
const COOKIE_OF: &str = "{cookie}";
const STATE_OF: &str = "{state}";
const NONCE_OF: &str = "{nonce}";
const ISSUER_OF: &str = "{issuer}";
/// Placeholders of times, with their distance from now in seconds.
const TIMES: [(&str, i64); 3] = [("{past}", -3600), ("{now}", 0), ("{future}", 3600)];

/// A sign-in, in four parts that end with a line feed each: query of the callback, cookies, header of the ID token, its claims.
/// With an empty header, the claims are the whole token. Placeholders are replaced by values of the browser or the provider.
///
/// Guarantees: a user is signed in only by a token that the provider signed for this client, with the nonce of this sign-in, and
/// only in the browser that began it; nothing else reaches the provider; any other response is a problem that does not contain the token.
pub fn openid(data: &[u8]) {
    sign_in(data);
}

/// Tries a sign-in by the callback and one by the ID token. Returns how many succeeded.
pub(super) fn sign_in(data: &[u8]) -> usize {
    let Ok(text) = std::str::from_utf8(data) else { return 0 };
    let mut successes = 0;
    let mut parts = text.splitn(4, '\n');
    let mut next = || parts.next().unwrap_or_default();
    let (query, cookies, header, claims) = (next(), next(), next(), next());
    let provider = FakeProvider::get();
    let sign_in = provider.begin();
    let [query, cookies, header, claims] =
        [query, cookies, header, claims].map(|part| sign_in.fill(part, &provider.url));
    let token = if header.is_empty() { claims.clone() } else { sign(&header, &claims) };
    let signed = !header.is_empty();

    if let Some(request) = callback(&query, &cookies) {
        provider.answer_with(&token);
        let response = provider.edge.ask_anonymously(request);
        let own = form_urlencoded::parse(query.as_bytes())
            .any(|(name, value)| name == "state" && value == sign_in.state)
            && cookies.contains(&sign_in.cookie);
        assert!(own || !provider.was_called(), "the sign-in of another client reached the provider: {query} {cookies}");
        let allowed = own && signed && is_good(&claims, &provider.url, Some(&sign_in.nonce));
        successes += usize::from(assert_outcome(&response, &token, allowed));
    }
    let body = json!({"id_token": token}).to_string();
    let request = Request::post("/v1/oidc/id-token").header(CONTENT_TYPE, "application/json").body(Body::from(body));
    if let Ok(request) = request {
        let response = provider.edge.ask_anonymously(request);
        let allowed = signed && is_good(&claims, &provider.url, None);
        successes += usize::from(assert_outcome(&response, &token, allowed));
    }
    successes
}

fn callback(query: &str, cookies: &str) -> Option<Request<Body>> {
    let uri: Uri = format!("/v1/oidc/callback?{query}").parse().ok()?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    request.headers_mut().insert(COOKIE, HeaderValue::from_str(cookies).ok()?);
    Some(request)
}

/// A token with this header and these claims, signed with the provider's key.
fn sign(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_ed_der(&PRIVATE_KEY), Algorithm::EdDSA);
    format!("{message}.{}", signature.unwrap_or_default())
}

/// Whether these claims may sign a user in (OpenID Connect Core, 3.1.3.7).
fn is_good(claims: &str, issuer: &str, nonce: Option<&str>) -> bool {
    let Ok(claims) = serde_json::from_str::<Value>(claims) else { return false };
    let audience = &claims["aud"];
    let for_us =
        *audience == CLIENT_ID || audience.as_array().is_some_and(|all| all.iter().all(|one| *one == CLIENT_ID));
    let now = Timestamp::now().as_second() as f64;
    claims["iss"] == issuer
        && for_us
        && claims["exp"].as_f64().is_some_and(|end| end > now - 60.0)
        && claims["sub"].as_str().is_some_and(|subject| !subject.is_empty())
        && nonce.is_none_or(|nonce| claims["nonce"] == nonce)
}

/// Checks that there are tokens only if `allowed`, and otherwise a short problem that does not
/// repeat the token. Returns whether there are tokens.
fn assert_outcome(response: &Answer, token: &str, allowed: bool) -> bool {
    if response.status.is_success() {
        assert!(allowed, "signed in: {response:?} by {token}");
        return true;
    }
    // The provider's response may be invalid, which gives 503; no other 5xx is allowed.
    assert!(response.status.is_client_error() || response.status == StatusCode::SERVICE_UNAVAILABLE, "{response:?}");
    assert_eq!(response.header(CONTENT_TYPE), Some("application/problem+json"), "{response:?}");
    assert!(response.body.len() <= LONGEST_PROBLEM, "{} bytes of problem", response.body.len());
    let body = String::from_utf8_lossy(&response.body);
    assert!(token.len() < 40 || !body.contains(token), "the problem repeats the token: {body}");
    false
}

/// A sign-in that a browser began.
struct SignIn {
    cookie: String,
    state: String,
    nonce: String,
}

impl SignIn {
    /// A part of an input with its placeholders replaced.
    fn fill(&self, part: &str, issuer: &str) -> String {
        let now = Timestamp::now().as_second();
        let filled =
            part.replace(COOKIE_OF, &self.cookie).replace(STATE_OF, &self.state).replace(NONCE_OF, &self.nonce);
        let filled = filled.replace(ISSUER_OF, issuer);
        TIMES.iter().fold(filled, |filled, (name, distance)| filled.replace(name, &(now + distance).to_string()))
    }
}

/// A service, and a provider that it signs in with.
struct FakeProvider {
    edge: Edge,
    url: String,
    next: Arc<NextToken>,
}

/// The ID token of the next response of the token endpoint; empty once it was requested.
#[derive(Default)]
struct NextToken(Mutex<Option<String>>);

impl FakeProvider {
    fn get() -> &'static Self {
        static PROVIDER: OnceLock<FakeProvider> = OnceLock::new();
        PROVIDER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (mut url, next) = (String::new(), Arc::new(NextToken::default()));
        let edge = Edge::start(|runtime| {
            url = serve(runtime, next.clone())?;
            let secret = "a-secret-of-the-client";
            Ok(vec![
                format!("--oidc-issuer={url}"),
                format!("--oidc-client-id={CLIENT_ID}"),
                format!("--oidc-client-secret={secret}"),
            ])
        });
        Self { edge, url, next }
    }

    /// Begins a sign-in like a browser.
    fn begin(&self) -> SignIn {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static("/v1/oidc/login");
        let response = self.edge.ask_anonymously(request);
        assert_eq!(response.status, StatusCode::SEE_OTHER, "{response:?}");
        let cookie = response.header(SET_COOKIE).and_then(|line| line.split(';').next()).unwrap_or_default();
        let page: Option<Url> = response.header(LOCATION).and_then(|page| page.parse().ok());
        let parameter = |name: &str| {
            let mut pairs = page.iter().flat_map(|page| page.query_pairs());
            pairs.find(|(given, _)| given == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        SignIn { cookie: cookie.to_owned(), state: parameter("state"), nonce: parameter("nonce") }
    }

    fn answer_with(&self, token: &str) {
        *self.next.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.to_owned());
    }

    /// Whether the token endpoint was called since the last [`Self::answer_with`].
    fn was_called(&self) -> bool {
        self.next.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

/// Serves a provider on a port that the system picks; its URL.
fn serve(runtime: &Runtime, next: Arc<NextToken>) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}", listener.local_addr()?);
    let metadata = json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    });
    let key = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "one", "x": PUBLIC_KEY});
    let routes = Router::new()
        .route("/.well-known/openid-configuration", get(|| async move { Json(metadata) }))
        .route("/jwks", get(|| async move { Json(json!({"keys": [key]})) }))
        .route("/token", post(token))
        .with_state(next);
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, routes).await
    });
    Ok(url)
}

async fn token(State(next): State<Arc<NextToken>>) -> Json<Value> {
    let token = next.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    Json(json!({"access_token": "at-of-the-provider", "token_type": "Bearer", "expires_in": 60, "id_token": token}))
}
