//! Which web pages may call from a browser (the Fetch standard's CORS protocol). None may, unless the operator names them.
//!
//! It protects people, not the server: a page that is not named can still send, its script only may not read the answer.
//! Pages that are named may use the cookie of the alert stream; where any page may call, none may.

use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, LOCATION, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Uri};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::request_id::REQUEST_ID;

const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// What requests to the interface may bear.
const REQUEST_HEADERS: [HeaderName; 8] = [
    AUTHORIZATION,
    // EventSource polyfills send it.
    CACHE_CONTROL,
    CONTENT_TYPE,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("prefer"),
    HeaderName::from_static("traceparent"),
    REQUEST_ID,
];
/// What scripts may read of an answer, besides what they always may.
const RESPONSE_HEADERS: [HeaderName; 7] = [
    LOCATION,
    HeaderName::from_static("preference-applied"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    REQUEST_ID,
];
/// How long a browser need not ask again.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Lets the pages of these origins call, or those of all where the only one is `*`; nothing when there is none.
///
/// # Errors
/// When one is no origin; the message names the setting.
pub fn layer(origins: &[String]) -> anyhow::Result<Option<CorsLayer>> {
    let layer = CorsLayer::new()
        .allow_methods(METHODS)
        .allow_headers(REQUEST_HEADERS)
        .expose_headers(RESPONSE_HEADERS)
        .max_age(MAX_AGE);
    Ok(pages(origins)?.map(|pages| match pages {
        Pages::Any => layer.allow_origin(AllowOrigin::any()).vary([]),
        Pages::These(these) => layer.allow_origin(these).allow_credentials(true).vary([ORIGIN]),
    }))
}

#[derive(Debug, PartialEq, Eq)]
enum Pages {
    Any,
    These(Vec<HeaderValue>),
}

fn pages(origins: &[String]) -> anyhow::Result<Option<Pages>> {
    let named: Vec<&str> = origins.iter().map(|origin| origin.trim()).filter(|origin| !origin.is_empty()).collect();
    match named[..] {
        [] => Ok(None),
        ["*"] => Ok(Some(Pages::Any)),
        _ => Ok(Some(Pages::These(named.iter().map(|name| origin(name)).collect::<Result<_, _>>()?))),
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

    fn of(origins: &[&str]) -> anyhow::Result<Option<Pages>> {
        pages(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[""]).unwrap(), None);
        assert_eq!(of(&["*"]).unwrap(), Some(Pages::Any));
        let these = of(&["https://App.example.com:443/", " http://localhost:5173"]).unwrap();
        let expected = ["https://app.example.com", "http://localhost:5173"].map(HeaderValue::from_static);
        assert_eq!(these, Some(Pages::These(expected.to_vec())));
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
