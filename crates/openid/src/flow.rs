//! The state of a sign-in between the redirect to the provider and the callback. It is kept in a cookie, so that any instance
//! can serve the callback.
//!
//! The cookie holds a random secret, the start time and the page to return to. State, nonce and PKCE verifier are hashes of the
//! whole cookie: they cannot be derived without it, and a changed cookie does not match the state that the provider returns. So
//! instances share neither memory nor a key. docs/decisions/openid.md says why the cookie is not signed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Time limit of a sign-in, in seconds.
const MAX_AGE: i64 = 600;
/// How far the clock of the instance that began it may be ahead, in seconds.
const MAX_CLOCK_SKEW: i64 = 60;
/// Longest cookie, in bytes.
const MAX_LENGTH: usize = 4_000;

/// A sign-in that a browser has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    content: FlowState,
    cookie: String,
}

/// The content of the cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FlowState {
    secret: String,
    began: i64,
    page: Option<String>,
    page_state: Option<String>,
}

impl Flow {
    /// Begins a sign-in that returns to `page` with its `page_state`.
    ///
    /// # Errors
    /// When the operating system returns no random bytes.
    pub fn begin(page: Option<String>, page_state: Option<String>, now: Timestamp) -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let content = FlowState { secret: URL_SAFE_NO_PAD.encode(secret), began: now.as_second(), page, page_state };
        // Serialising strings and a number cannot fail.
        let cookie = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&content).unwrap_or_default());
        Ok(Self { content, cookie })
    }

    /// The sign-in that this browser has begun, by the state that the provider returned.
    pub fn find(headers: &HeaderMap, state: &str, secure: bool, now: Timestamp) -> Option<Self> {
        let flow = cookies(headers, name(secure)).filter_map(Self::parse).find(|flow| flow.has_state(state))?;
        let age = now.as_second() - flow.content.began;
        (-MAX_CLOCK_SKEW..=MAX_AGE).contains(&age).then_some(flow)
    }

    fn parse(cookie: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok().filter(|_| cookie.len() <= MAX_LENGTH)?;
        let content = serde_json::from_slice(&bytes).ok()?;
        Some(Self { content, cookie: cookie.to_owned() })
    }

    fn has_state(&self, state: &str) -> bool {
        self.state().as_bytes().ct_eq(state.as_bytes()).into()
    }

    /// `state`, which the provider returns with the code.
    pub fn state(&self) -> String {
        self.derived("state")
    }

    /// `nonce`, which the ID token contains.
    pub fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// The PKCE code verifier (RFC 7636).
    pub fn verifier(&self) -> String {
        self.derived("verifier")
    }

    fn derived(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD
            .encode(Sha256::new().chain_update(purpose).chain_update("\0").chain_update(&self.cookie).finalize())
    }

    /// The page to return to.
    pub fn page(&self) -> Option<&str> {
        self.content.page.as_deref()
    }

    /// The `state` of that page.
    pub fn page_state(&self) -> Option<&str> {
        self.content.page_state.as_deref()
    }

    /// The `Set-Cookie` header.
    pub fn set_cookie(&self, secure: bool) -> Option<HeaderValue> {
        cookie_line(&self.cookie, MAX_AGE, secure)
    }

    /// The `Set-Cookie` header that deletes the cookie.
    pub fn forget(secure: bool) -> Option<HeaderValue> {
        cookie_line("", 0, secure)
    }
}

/// With the prefix `__Host-`, browsers accept the cookie only over TLS and only from this host.
const fn name(secure: bool) -> &'static str {
    if secure { "__Host-sightline_oidc" } else { "sightline_oidc" }
}

/// `SameSite=Lax`: the browser must send it with the redirect from the provider.
fn cookie_line(value: &str, seconds: i64, secure: bool) -> Option<HeaderValue> {
    let (name, end) = (name(secure), if secure { "; Secure" } else { "" });
    HeaderValue::try_from(format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{end}")).ok()
}

fn cookies<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(given, _)| *given == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookies: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::try_from(cookies).unwrap())])
    }

    fn sent(flow: &Flow, secure: bool) -> String {
        flow.set_cookie(secure).unwrap().to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_flow_needs_both_its_cookie_and_its_state() {
        let now = Timestamp::now();
        let begin = || Flow::begin(Some("https://app.example/".to_owned()), Some("s".to_owned()), now).unwrap();
        let (one, other) = (begin(), begin());
        let found = |cookies: &str, state: &str| Flow::find(&headers(cookies), state, false, now);
        assert_eq!(found(&sent(&one, false), &one.state()), Some(one.clone()));
        let both = format!("a=b; {}; {}", sent(&other, false), sent(&one, false));
        assert_eq!(found(&both, &one.state()), Some(one.clone()), "another cookie makes no difference");
        for (cookies, state) in [
            (sent(&one, false), other.state()),
            (sent(&one, false), String::new()),
            (sent(&one, false), one.nonce()),
            (String::new(), one.state()),
            ("sightline_oidc=".to_owned(), one.state()),
            ("sightline_oidc=e30".to_owned(), one.state()),
            (sent(&one, true), one.state()),
        ] {
            assert_eq!(found(&cookies, &state), None, "{cookies} {state}");
        }
    }

    #[test]
    fn a_changed_cookie_is_rejected() {
        let now = Timestamp::now();
        let flow = Flow::begin(Some("https://app.example/".to_owned()), None, now).unwrap();
        let elsewhere = FlowState { page: Some("https://thief.example/".to_owned()), ..flow.content.clone() };
        let cookie = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&elsewhere).unwrap());
        assert_eq!(Flow::find(&headers(&format!("sightline_oidc={cookie}")), &flow.state(), false, now), None);
    }

    #[test]
    fn a_flow_expires_after_ten_minutes() {
        let now = Timestamp::now();
        let flow = Flow::begin(None, None, now).unwrap();
        let after = |seconds| {
            let then = now + jiff::SignedDuration::from_secs(seconds);
            Flow::find(&headers(&sent(&flow, false)), &flow.state(), false, then)
        };
        assert!(after(600).is_some());
        assert!(after(601).is_none());
        assert!(after(-60).is_some());
        assert!(after(-61).is_none());
    }

    #[test]
    fn over_tls_the_cookie_has_the_host_prefix() {
        let flow = Flow::begin(None, None, Timestamp::now()).unwrap();
        let line = flow.set_cookie(true).unwrap().to_str().unwrap().to_owned();
        assert!(line.starts_with("__Host-sightline_oidc=") && line.ends_with("; Secure"), "{line}");
        for part in ["; Path=/;", "; HttpOnly;", "; SameSite=Lax;", "; Max-Age=600;"] {
            assert!(line.contains(part), "{line}");
        }
        assert_eq!((flow.state().len(), flow.verifier().len()), (43, 43), "the lengths that PKCE allows");
    }
}
