//! The routes of shop-api, which this service passes on where the shop is another process: REST, uploads, downloads and grpc-web.
//!
//! In: a request below one of the shop's paths. Out: the response of shop-api, which authorises it. Guarantees: bodies are passed on piece by
//! piece in both directions, and no piece is kept; a client that goes away ends the request to shop-api too; shop-api learns the client's
//! address. In a process that has the shop itself, these routes do not exist. Their document is that of shop-api, at
//! `/v1/books/openapi.json`.

use std::net::SocketAddr;
use std::time::Duration;

use api_kit::error::{ApiError, ServiceError};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, EXPECT, TE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::forward::forwarded_headers;

/// Paths of the shop. Each is passed on with everything below it.
const PATHS: [&str; 15] = [
    "/v1/books",
    "/v1/cart",
    "/v1/categories",
    "/v1/checkout",
    "/v1/kept-orders",
    "/v1/ledger",
    "/v1/media",
    "/v1/orders",
    "/v1/providers",
    "/v1/purchases",
    "/v1/uploads",
    "/auth.v1.AuthenticationService",
    "/shop.v1.AdminService",
    "/shop.v1.ShopService",
    "/grpc.health.v1.Health",
];

/// Time limit for the head of the response, from the last byte of the request on. shop-api's own limits are shorter.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(70);
/// Headers about a connection that has a body in progress.
const BODY_HEADERS: [HeaderName; 3] = [EXPECT, TE, TRAILER];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The routes of the shop, if it has an address.
pub fn routes(app: &App) -> Router<App> {
    if app.config.shop_api.shop_api_url.is_none() {
        return Router::new();
    }
    PATHS.into_iter().fold(Router::new(), |routes, path| {
        routes.route(path, any(pass_on)).route(&format!("{path}/{{*rest}}"), any(pass_on))
    })
}

/// Passes a request on to shop-api, and its response back.
async fn pass_on(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let unreachable = |reason: String| ServiceError::Unavailable(format!("shop-api, SIGHTLINE_SHOP_API_URL: {reason}"));
    let url = app.config.shop_api.shop_api_url.clone();
    let mut url = url.ok_or_else(|| unreachable("it is not set".to_owned()))?;
    url.set_path(request.uri().path());
    url.set_query(request.uri().query());
    let headers = headers_of(&request);
    let has_body = has_body(request.headers());
    let (parts, body) = request.into_parts();
    let mut sending = app.client.request(parts.method, url).headers(headers);
    // Cancelled when the last byte was sent, or there is none.
    let sent = CancellationToken::new();
    let unsent = sent.clone().drop_guard();
    if has_body {
        let pieces = body.into_data_stream().inspect(move |_| {
            let _until_dropped = &unsent;
        });
        sending = sending.body(reqwest::Body::wrap_stream(pieces));
    } else {
        drop(unsent);
    }
    let too_late = async {
        sent.cancelled().await;
        tokio::time::sleep(RESPONSE_TIMEOUT).await;
    };
    let response = tokio::select! {
        response = sending.send() => response,
        () = too_late => return Err(unreachable("no answer".to_owned()).into()),
    };
    let response = response.map_err(|error| unreachable(format!("{:#}", anyhow::Error::new(error.without_url()))))?;
    let (status, headers) = (response.status(), forwarded_headers(response.headers()));
    Ok((status, headers, Body::from_stream(response.bytes_stream())).into_response())
}

/// The headers for shop-api: those of the client, with the address from which it came here.
fn headers_of(request: &Request) -> HeaderMap {
    let mut headers = forwarded_headers(request.headers());
    for name in BODY_HEADERS {
        headers.remove(name);
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.and_then(|ConnectInfo(peer)| HeaderValue::from_str(&peer.ip().to_canonical().to_string()).ok());
    if let Some(peer) = peer {
        headers.append(FORWARDED_FOR, peer);
    }
    headers
}

/// Whether a request has a body (RFC 9112, 6.3).
fn has_body(headers: &HeaderMap) -> bool {
    let is_empty = |length: &HeaderValue| length.as_bytes() == b"0";
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(|length| !is_empty(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_client_is_added_behind_those_that_it_names() {
        let mut request = Request::get("/v1/books").header("x-forwarded-for", "1.2.3.4").body(Body::empty()).unwrap();
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([203, 0, 113, 9], 4711))));
        let headers = headers_of(&request);
        let hops: Vec<_> = headers.get_all(FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(hops, [b"1.2.3.4".as_slice(), b"203.0.113.9"]);
        assert!(!headers.contains_key(TE));
    }

    #[test]
    fn a_request_has_a_body_if_it_says_so() {
        let with = |name: HeaderName, value| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        assert!(has_body(&with(CONTENT_LENGTH, "1")) && has_body(&with(TRANSFER_ENCODING, "chunked")));
        assert!(!has_body(&with(CONTENT_LENGTH, "0")) && !has_body(&HeaderMap::new()));
    }
}
