//! The bytes of responses that wait until their clients read them.
//!
//! In: a response, and the method and the tenant of its request. Out: the same response, or 503 `busy`, or 429 `share_in_use`. Guarantees: no
//! long response to a request that only reads is sent while the bytes that wait exceed a fixed number, or those of its tenant a share; each
//! byte counts until it is written to the connection, however slowly its client reads. Responses to other requests count and are always
//! sent, because what they report is done. A response longer than a share counts as one, so that it can be sent at all. Streams have no
//! length before they end; they are sent piece by piece and do not count.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};

use crate::error::{ApiError, HttpError};
use crate::shares::{NotFree, Shares, Units};

/// Bytes of all responses that wait.
const ALL: usize = 128 << 20;
/// Those of one tenant.
const SHARE: usize = ALL / 4;
/// A shorter response does not count: a connection has larger buffers anyway, and sign-ins and problems are always answered.
const COUNTED: usize = 16 << 10;

/// Why a response is not sent.
#[derive(Debug, thiserror::Error)]
enum ResponseError {
    /// The responses of all tenants wait for their clients.
    #[error("too many responses wait until their clients read them; try again soon")]
    Busy,
    /// Those of the tenant use its share. Requests without a credential have one together.
    #[error(
        "too many responses to the same user, or to requests without a credential, wait until they are read; read them or close \
         their connections, and try again"
    )]
    ShareInUse,
}

impl HttpError for ResponseError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::ShareInUse => (StatusCode::TOO_MANY_REQUESTS, "share_in_use"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        Some(1)
    }
}

/// The bytes of long responses in memory.
pub struct ResponseBytes(Arc<Shares>);

impl Default for ResponseBytes {
    fn default() -> Self {
        Self::new(ALL, SHARE)
    }
}

impl ResponseBytes {
    fn new(all: usize, share: usize) -> Self {
        Self(Shares::new(all, share, metrics::gauge!("sightline_http_response_bytes")))
    }

    /// Counts the bytes of a response to a request of `tenant`.
    pub fn counted(&self, response: Response, method: &Method, tenant: Option<&str>) -> Response {
        let length = HttpBody::size_hint(response.body()).exact();
        let Some(length) = length.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)) else { return response };
        if length < COUNTED {
            return response;
        }
        let number = length.min(self.0.share());
        let taken = if method.is_safe() { self.0.take(tenant, number) } else { Ok(self.0.take_in_use(tenant, number)) };
        match taken {
            Ok(units) => response.map(|body| Body::new(HeldBody { body, units: Arc::new(units) })),
            Err(NotFree::OfTenant) => ApiError::from(ResponseError::ShareInUse).into_response(),
            Err(NotFree::OfAll) => ApiError::from(ResponseError::Busy).into_response(),
        }
    }
}

/// A body whose bytes count.
struct HeldBody {
    body: Body,
    units: Arc<Units>,
}

/// Bytes that count until they are dropped. The connection drops the body as soon as it has its last piece, and keeps the pieces until
/// they are written.
struct HeldBytes {
    bytes: Bytes,
    _units: Arc<Units>,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        let units = Arc::clone(&self.units);
        let held = |bytes| Bytes::from_owner(HeldBytes { bytes, _units: units });
        Poll::Ready(polled.map(|frame| frame.map(|frame| frame.map_data(held))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::Router;
    use axum::extract::{Path, Request, State};
    use axum::middleware::{Next, from_fn_with_state};
    use axum::routing::get;
    use http_body_util::BodyExt;
    use platform::http::{Limits, Tenant, serve, set_tenant};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Bytes of a response: more than the buffers of a connection whose client reads nothing.
    const LENGTH: usize = 4 << 20;

    fn response(length: usize) -> Response {
        Body::from(vec![7_u8; length]).into_response()
    }

    fn status(counted: &ResponseBytes, tenant: Option<&str>, length: usize) -> StatusCode {
        counted.counted(response(length), &Method::GET, tenant).status()
    }

    #[tokio::test]
    async fn bytes_count_until_the_last_piece_is_dropped() {
        let counted = ResponseBytes::new(4 * LENGTH, 2 * LENGTH);
        let first = counted.counted(response(LENGTH), &Method::GET, Some("a"));
        assert_eq!(first.body().size_hint().exact(), Some(LENGTH as u64));
        let second = counted.counted(response(LENGTH), &Method::GET, Some("a"));

        let refused = counted.counted(response(LENGTH), &Method::GET, Some("a"));
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers()["retry-after"], "1");
        let problem = axum::body::to_bytes(refused.into_body(), 10_000).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&problem).unwrap();
        assert_eq!(problem["code"], "share_in_use");
        assert_eq!(status(&counted, Some("a"), COUNTED - 1), StatusCode::OK, "a short one does not count");
        assert_eq!(status(&counted, Some("b"), LENGTH), StatusCode::OK, "another tenant has a share of its own");

        let mut body = second.into_body();
        let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let piece = bytes.slice(..1);
        drop((body, bytes));
        assert_eq!(status(&counted, Some("a"), LENGTH), StatusCode::TOO_MANY_REQUESTS, "a piece keeps all bytes");
        drop(piece);
        assert_eq!(status(&counted, Some("a"), LENGTH), StatusCode::OK);
        drop(first);
        assert_eq!(status(&counted, Some("a"), 2 * LENGTH), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_response_longer_than_a_share_counts_as_one() {
        let counted = ResponseBytes::new(2 * LENGTH, LENGTH);
        let long = counted.counted(response(9 * LENGTH), &Method::GET, Some("a"));
        assert_eq!(long.status(), StatusCode::OK);
        assert_eq!(status(&counted, Some("a"), COUNTED), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(status(&counted, Some("b"), 9 * LENGTH), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_response_to_a_change_counts_and_is_always_sent() {
        let counted = ResponseBytes::new(2 * LENGTH, LENGTH);
        let sent = [(); 3].map(|()| counted.counted(response(LENGTH), &Method::POST, Some("a")));
        assert!(sent.iter().all(|sent| sent.status() == StatusCode::OK));
        assert_eq!(status(&counted, Some("b"), LENGTH), StatusCode::SERVICE_UNAVAILABLE);
        drop(sent);
        assert_eq!(status(&counted, Some("b"), LENGTH), StatusCode::OK);
    }

    async fn count(State(counted): State<Arc<ResponseBytes>>, mut request: Request, next: Next) -> Response {
        let tenant = Tenant::insert(request.extensions_mut());
        counted.counted(next.run(request).await, &Method::GET, tenant.name())
    }

    /// A long response to the tenant in the path.
    async fn long(Path(tenant): Path<String>, request: Request) -> Response {
        set_tenant(request.extensions(), &tenant);
        response(LENGTH)
    }

    /// A request, whose response nobody has read yet.
    async fn ask(address: SocketAddr, tenant: &str) -> TcpStream {
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = format!("GET /{tenant} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        client
    }

    /// The status line and the length of what follows, read to the end.
    async fn answer(mut client: TcpStream) -> (String, usize) {
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        (String::from_utf8_lossy(&all[..12]).into_owned(), all.len())
    }

    #[tokio::test]
    async fn slow_readers_are_refused_and_served_after_they_end() {
        let counted = Arc::new(ResponseBytes::new(4 * LENGTH, 2 * LENGTH));
        let routes = Router::new().route("/{tenant}", get(long)).layer(from_fn_with_state(counted, count));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { send_buffer: Some(64 << 10), ..Limits::default() };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, routes, limits, stop.clone()));

        let mut unread = vec![ask(address, "a").await, ask(address, "a").await];
        for client in &mut unread {
            // The response has begun, so its bytes count.
            client.read_exact(&mut [0; 12]).await.unwrap();
        }
        assert_eq!(answer(ask(address, "a").await).await.0, "HTTP/1.1 429");
        let (status, bytes) = answer(ask(address, "b").await).await;
        assert!(status == "HTTP/1.1 200" && bytes > LENGTH, "{status}, {bytes} bytes");

        drop(unread.pop());
        let again = async {
            while answer(ask(address, "a").await).await.0 != "HTTP/1.1 200" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), again).await.expect("the bytes of a closed connection are free");
        drop(unread);
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
