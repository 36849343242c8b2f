//! Which web pages may call from a browser (the Fetch standard's CORS protocol). None may, unless the operator names them.
//!
//! It protects people, not the server: a page that is not named can still send, its script only may not read the answer.
//! Pages that are named may use the cookie of the alert stream; where any page may call, none may.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// What requests to the interface may bear.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, last-event-id, prefer, traceparent, x-request-id",
);
/// What scripts may read of an answer, besides what they always may.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "location, preference-applied, ratelimit, ratelimit-policy, retry-after, www-authenticate, x-request-id",
);
/// How long a browser need not ask again, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The pages that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// All of them.
    Any,
    /// Those of these origins.
    These(Vec<HeaderValue>),
}

impl Cors {
    /// What the setting names; nothing when it names none.
    ///
    /// # Errors
    /// When one is no origin; the message names the setting.
    pub fn of(origins: &[String]) -> anyhow::Result<Option<Self>> {
        let named: Vec<&str> = origins.iter().map(|origin| origin.trim()).filter(|origin| !origin.is_empty()).collect();
        match named[..] {
            [] => Ok(None),
            ["*"] => Ok(Some(Self::Any)),
            _ => Ok(Some(Self::These(named.iter().map(|name| origin(name)).collect::<Result<_, _>>()?))),
        }
    }

    /// The answer to a browser that asks whether a request is allowed; nothing when this is no such question, or it is not.
    pub fn preflight(&self, request: &Request) -> Option<Response> {
        let asked =
            request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asked || !self.allows(request.headers().get(ORIGIN)?) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(response)
    }

    /// Says in an answer that this origin's script may read it, if it may.
    pub fn mark(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        if matches!(self, Self::These(_)) {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else { return };
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
        match self {
            Self::Any => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::These(_) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::These(these) => these.contains(origin),
        }
    }
}

/// An origin as browsers write it: scheme, host and, unless it is the usual one, port.
fn origin(text: &str) -> anyhow::Result<HeaderValue> {
    let wrong = || {
        anyhow::anyhow!(
            "SIGHTLINE_CORS_ORIGINS: {text:?} is no origin; it reads like https://app.example.com, or * alone"
        )
    };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority().ok_or_else(wrong)?);
    let usual = [("http", 80), ("https", 443)].into_iter().find(|(known, _)| *known == scheme).ok_or_else(wrong)?;
    if !["", "/"].contains(&uri.path()) || uri.query().is_some() || authority.as_str().contains('@') {
        return Err(wrong());
    }
    let host = authority.host().to_ascii_lowercase();
    let port = authority.port_u16().filter(|port| *port != usual.1).map_or_else(String::new, |port| format!(":{port}"));
    HeaderValue::try_from(format!("{scheme}://{host}{port}")).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(origins: &[&str]) -> anyhow::Result<Option<Cors>> {
        Cors::of(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[""]).unwrap(), None);
        assert_eq!(of(&["*"]).unwrap(), Some(Cors::Any));
        let these = of(&["https://App.example.com:443/", " http://localhost:5173"]).unwrap();
        let expected = ["https://app.example.com", "http://localhost:5173"].map(HeaderValue::from_static);
        assert_eq!(these, Some(Cors::These(expected.to_vec())));
    }

    #[test]
    fn what_is_no_origin_stops_the_start() {
        for wrong in ["app.example.com", "https://a/path", "https://a?x", "ftp://a", "https://me@a", "null", "https://"]
        {
            let error = of(&[wrong]).unwrap_err().to_string();
            assert!(error.contains("SIGHTLINE_CORS_ORIGINS"), "{wrong}: {error}");
        }
        assert!(of(&["*", "https://a"]).is_err());
    }
}
