//! Calls of gRPC by hand, so that the generator decides about every frame.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A message without fields.
const EMPTY: Bytes = Bytes::from_static(&[0; 5]);
/// The beginning of a connection of HTTP/2, and an empty frame of settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A method that waits for its message.
const SIGN_IN: &str = "/auth.v1.AuthenticationService/SignIn";
/// The status of a message that is too large.
const RESOURCE_EXHAUSTED: &str = "8";

/// A connection.
pub struct Connection {
    requests: SendRequest<Bytes>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = h2::client::handshake(stream).await?;
        // Its end is seen by the next call.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests })
    }

    async fn begin(
        &mut self,
        path: &str,
        token: Option<&str>,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.requests = self.requests.clone().ready().await?;
        let mut request = Request::post(format!("http://bench{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(()).map_err(|_| h2::Error::from(Reason::INTERNAL_ERROR))?;
        self.requests.send_request(request, false)
    }

    /// The status of a call with this message.
    async fn call(&mut self, path: &str, token: &str, message: Bytes) -> anyhow::Result<String> {
        let (response, mut stream) = self.begin(path, Some(token)).await?;
        stream.send_data(message, true)?;
        status(response.await?).await
    }

    /// Calls `path` until `until`, with a pause after each answer. Fails when a call does.
    pub async fn calls(
        mut self,
        path: &str,
        token: &str,
        pause: Duration,
        until: Instant,
    ) -> anyhow::Result<Vec<Duration>> {
        let mut times = Vec::new();
        while Instant::now() < until {
            let started = Instant::now();
            let status = self.call(path, token, EMPTY).await?;
            times.push(started.elapsed());
            ensure!(status == "0", "an ordinary call ended with status {status}");
            tokio::time::sleep(pause).await;
        }
        Ok(times)
    }
}

async fn status(response: Response<RecvStream>) -> anyhow::Result<String> {
    let text = |headers: &HeaderMap| headers.get("grpc-status").and_then(|value| Some(value.to_str().ok()?.to_owned()));
    if let Some(status) = text(response.headers()) {
        return Ok(status);
    }
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    body.trailers().await?.as_ref().and_then(text).context("an answer without a status")
}

/// Cancels `wanted` calls as fast as it can. Returns how many connections the server closed meanwhile.
pub async fn cancel(address: SocketAddr, wanted: u32) -> anyhow::Result<u32> {
    let (mut sent, mut closed) = (0, 0);
    while sent < wanted {
        let mut connection = Connection::open(address).await?;
        while sent < wanted {
            let Ok((_, mut stream)) = connection.begin(SIGN_IN, None).await else {
                closed += 1;
                break;
            };
            // The head is sent before the reset, which would take it back.
            tokio::task::yield_now().await;
            stream.send_reset(Reason::CANCEL);
            sent += 1;
        }
    }
    Ok(closed)
}

/// Sends `count` messages of five mebibytes, which must be refused.
pub async fn send_large(address: SocketAddr, token: String, count: u32) -> anyhow::Result<()> {
    let length = 5_u32 << 20;
    let message = Bytes::from([&[0], &length.to_be_bytes()[..], &vec![0; length as usize]].concat());
    for _ in 0..count {
        let mut connection = Connection::open(address).await?;
        let status = connection.call("/shop.v1.ShopService/CreateUploadURL", &token, message.clone()).await?;
        ensure!(status == RESOURCE_EXHAUSTED, "a message of five mebibytes ended with status {status}");
    }
    Ok(())
}

/// Opens `count` connections that speak HTTP/2 and call nothing.
pub async fn open_idle(address: SocketAddr, count: u32) -> anyhow::Result<Vec<TcpStream>> {
    let mut idle = Vec::new();
    for number in 0..count {
        let mut stream = TcpStream::connect(address).await.with_context(|| format!("connection {number}"))?;
        stream.write_all(PREFACE).await?;
        idle.push(stream);
    }
    Ok(idle)
}
