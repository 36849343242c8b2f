//! What a browser keeps between going to the provider and coming back, so that any instance may receive it.
//!
//! One cookie holds a random secret, when the flow began and where it shall lead. State, nonce and PKCE verifier are hashes of
//! the whole cookie: whoever has not the very cookie knows none of them, and a cookie that was changed belongs to no state that
//! the provider was given. So no instance remembers anything, and no key is shared. Why it is not signed as well is in
//! docs/decisions/openid.md.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// How long somebody may take at the provider, in seconds.
const SECONDS: i64 = 600;
/// How far the clock of the instance that it began at may be ahead, in seconds.
const AHEAD: i64 = 60;
/// Longest cookie that is looked at.
const MAX_LENGTH: usize = 4_000;

/// A sign-in that a browser has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    kept: Kept,
    cookie: String,
}

/// What the cookie says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    secret: String,
    began: i64,
    page: Option<String>,
    page_state: Option<String>,
}

impl Flow {
    /// A new one, which leads to a page and gives it back what it gave us.
    pub fn begin(page: Option<String>, page_state: Option<String>, now: Timestamp) -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        let kept = Kept { secret: URL_SAFE_NO_PAD.encode(secret), began: now.as_second(), page, page_state };
        // It cannot fail: there is nothing in it but texts and a number.
        let cookie = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&kept).unwrap_or_default());
        Ok(Self { kept, cookie })
    }

    /// The one that this browser has begun and the provider tells of.
    pub fn of(headers: &HeaderMap, state: &str, secure: bool, now: Timestamp) -> Option<Self> {
        let flow = cookies(headers, name(secure)).filter_map(Self::read).find(|flow| flow.has(state))?;
        let age = now.as_second() - flow.kept.began;
        (-AHEAD..=SECONDS).contains(&age).then_some(flow)
    }

    fn read(cookie: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok().filter(|_| cookie.len() <= MAX_LENGTH)?;
        let kept = serde_json::from_slice(&bytes).ok()?;
        Some(Self { kept, cookie: cookie.to_owned() })
    }

    fn has(&self, state: &str) -> bool {
        self.state().as_bytes().ct_eq(state.as_bytes()).into()
    }

    /// What the provider gives back with the code.
    pub fn state(&self) -> String {
        self.derived("state")
    }

    /// What the ID token must say.
    pub fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// What proves to the provider that the code came to who asked for it.
    pub fn verifier(&self) -> String {
        self.derived("verifier")
    }

    fn derived(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD
            .encode(Sha256::new().chain_update(purpose).chain_update("\0").chain_update(&self.cookie).finalize())
    }

    /// The page that it leads to.
    pub fn page(&self) -> Option<&str> {
        self.kept.page.as_deref()
    }

    /// What that page gave us to give back.
    pub fn page_state(&self) -> Option<&str> {
        self.kept.page_state.as_deref()
    }

    /// The header that keeps it in the browser.
    pub fn set_cookie(&self, secure: bool) -> Option<HeaderValue> {
        cookie_line(&self.cookie, SECONDS, secure)
    }

    /// The header that takes it away.
    pub fn forget(secure: bool) -> Option<HeaderValue> {
        cookie_line("", 0, secure)
    }
}

/// By its prefix a browser takes the cookie by TLS from this very host only: no neighbouring host can set it.
const fn name(secure: bool) -> &'static str {
    if secure { "__Host-sightline_oidc" } else { "sightline_oidc" }
}

/// Lax: it must come along when the provider's page leads back here.
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
    fn a_flow_is_known_by_its_cookie_and_state_together() {
        let now = Timestamp::now();
        let begin = || Flow::begin(Some("https://app.example/".to_owned()), Some("s".to_owned()), now).unwrap();
        let (one, other) = (begin(), begin());
        let found = |cookies: &str, state: &str| Flow::of(&headers(cookies), state, false, now);
        assert_eq!(found(&sent(&one, false), &one.state()), Some(one.clone()));
        let both = format!("a=b; {}; {}", sent(&other, false), sent(&one, false));
        assert_eq!(found(&both, &one.state()), Some(one.clone()), "whatever else the browser keeps");
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
    fn a_cookie_that_was_changed_belongs_to_no_state() {
        let now = Timestamp::now();
        let flow = Flow::begin(Some("https://app.example/".to_owned()), None, now).unwrap();
        let elsewhere = Kept { page: Some("https://thief.example/".to_owned()), ..flow.kept.clone() };
        let cookie = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&elsewhere).unwrap());
        assert_eq!(Flow::of(&headers(&format!("sightline_oidc={cookie}")), &flow.state(), false, now), None);
    }

    #[test]
    fn a_flow_is_over_after_ten_minutes() {
        let now = Timestamp::now();
        let flow = Flow::begin(None, None, now).unwrap();
        let after = |seconds| {
            let then = now + jiff::SignedDuration::from_secs(seconds);
            Flow::of(&headers(&sent(&flow, false)), &flow.state(), false, then)
        };
        assert!(after(600).is_some());
        assert!(after(601).is_none());
        assert!(after(-60).is_some());
        assert!(after(-61).is_none());
    }

    #[test]
    fn by_tls_the_cookie_is_of_this_host_alone() {
        let flow = Flow::begin(None, None, Timestamp::now()).unwrap();
        let line = flow.set_cookie(true).unwrap().to_str().unwrap().to_owned();
        assert!(line.starts_with("__Host-sightline_oidc=") && line.ends_with("; Secure"), "{line}");
        for part in ["; Path=/;", "; HttpOnly;", "; SameSite=Lax;", "; Max-Age=600;"] {
            assert!(line.contains(part), "{line}");
        }
        assert_eq!((flow.state().len(), flow.verifier().len()), (43, 43), "what PKCE takes");
    }
}
