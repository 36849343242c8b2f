//! CORS (the Fetch standard): which web pages may call the API from a browser. By default none.
//!
//! CORS protects users, not the server: other pages can still send requests, but their scripts cannot read the responses. Pages of
//! a listed origin may use the cookie of the alert stream. With `*` no page may use it.

use std::time::Duration;

use http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH,
    IF_NONE_MATCH, IF_RANGE, LOCATION, ORIGIN, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, Method, Uri};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::request_id::REQUEST_ID;

const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// Headers that cross-origin requests may have.
const REQUEST_HEADERS: [HeaderName; 24] = [
    AUTHORIZATION,
    // EventSource polyfills send it.
    CACHE_CONTROL,
    CONTENT_TYPE,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("prefer"),
    HeaderName::from_static("traceparent"),
    // Clients of grpc-web send them.
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("expected-currency"),
    HeaderName::from_static("expected-total-cents"),
    // Downloads in ranges.
    IF_MATCH,
    IF_NONE_MATCH,
    IF_RANGE,
    RANGE,
    // Uploads by tus 1.0.
    HeaderName::from_static("tus-resumable"),
    HeaderName::from_static("upload-checksum"),
    HeaderName::from_static("upload-defer-length"),
    HeaderName::from_static("upload-length"),
    HeaderName::from_static("upload-metadata"),
    HeaderName::from_static("upload-offset"),
    HeaderName::from_static("x-http-method-override"),
    REQUEST_ID,
];
/// Headers that scripts may read in responses, in addition to the CORS-safelisted ones.
const RESPONSE_HEADERS: [HeaderName; 24] = [
    ACCEPT_RANGES,
    CONTENT_DISPOSITION,
    CONTENT_RANGE,
    ETAG,
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-status-details-bin"),
    LOCATION,
    HeaderName::from_static("preference-applied"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    RETRY_AFTER,
    HeaderName::from_static("tus-checksum-algorithm"),
    HeaderName::from_static("tus-extension"),
    HeaderName::from_static("tus-max-size"),
    HeaderName::from_static("tus-resumable"),
    HeaderName::from_static("tus-version"),
    HeaderName::from_static("upload-defer-length"),
    HeaderName::from_static("upload-expires"),
    HeaderName::from_static("upload-length"),
    HeaderName::from_static("upload-metadata"),
    HeaderName::from_static("upload-offset"),
    WWW_AUTHENTICATE,
    REQUEST_ID,
];
/// Time for which browsers cache a preflight response.
const MAX_AGE: Duration = Duration::from_secs(600);

/// CORS for these origins, or for any origin if the list is `*`; `None` without origins.
///
/// # Errors
/// When one is not an origin. The message names the setting.
pub fn layer(origins: &[String]) -> anyhow::Result<Option<CorsLayer>> {
    let layer = CorsLayer::new()
        .allow_methods(METHODS)
        .allow_headers(REQUEST_HEADERS)
        .expose_headers(RESPONSE_HEADERS)
        .max_age(MAX_AGE);
    Ok(parse_origins(origins)?.map(|origins| match origins {
        Origins::Any => layer.allow_origin(AllowOrigin::any()).vary([]),
        Origins::Listed(listed) => layer.allow_origin(listed).allow_credentials(true).vary([ORIGIN]),
    }))
}

#[derive(Debug, PartialEq, Eq)]
enum Origins {
    Any,
    Listed(Vec<HeaderValue>),
}

fn parse_origins(origins: &[String]) -> anyhow::Result<Option<Origins>> {
    let named: Vec<&str> = origins.iter().map(|origin| origin.trim()).filter(|origin| !origin.is_empty()).collect();
    match named[..] {
        [] => Ok(None),
        ["*"] => Ok(Some(Origins::Any)),
        _ => Ok(Some(Origins::Listed(named.iter().map(|name| origin(name)).collect::<Result<_, _>>()?))),
    }
}

/// An origin as browsers serialise it: scheme, host and, unless it is the default of the scheme, port.
fn origin(text: &str) -> anyhow::Result<HeaderValue> {
    let wrong = || {
        anyhow::anyhow!(
            "SIGHTLINE_CORS_ORIGINS: {text:?} must be an origin such as https://app.example.com, or * alone"
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

    fn of(origins: &[&str]) -> anyhow::Result<Option<Origins>> {
        parse_origins(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn origins_are_parsed_as_browsers_write_them() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(of(&[""]).unwrap(), None);
        assert_eq!(of(&["*"]).unwrap(), Some(Origins::Any));
        let listed = of(&["https://App.example.com:443/", " http://localhost:5173"]).unwrap();
        let expected = ["https://app.example.com", "http://localhost:5173"].map(HeaderValue::from_static);
        assert_eq!(listed, Some(Origins::Listed(expected.to_vec())));
    }

    #[test]
    fn an_invalid_origin_stops_the_start() {
        for wrong in ["app.example.com", "https://a/path", "https://a?x", "ftp://a", "https://me@a", "null", "https://"]
        {
            let error = of(&[wrong]).unwrap_err().to_string();
            assert!(error.contains("SIGHTLINE_CORS_ORIGINS"), "{wrong}: {error}");
        }
        assert!(of(&["*", "https://a"]).is_err());
    }
}
