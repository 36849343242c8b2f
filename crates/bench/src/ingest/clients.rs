//! Clients that send frames on persistent connections. Each sends the next frame after the response to its last one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The request of all clients.
#[derive(Clone)]
pub struct Target {
    /// Port on this machine.
    pub port: u16,
    /// API token.
    pub token: String,
    /// The image.
    pub image: Bytes,
}

/// Connected clients.
pub struct Clients {
    target: Target,
    connections: Vec<SendRequest<Full<Bytes>>>,
}

impl Clients {
    /// Connects `count` clients.
    pub async fn connect(target: Target, count: usize) -> anyhow::Result<Self> {
        let connections = try_join_all((0..count).map(|_| connect(target.port))).await?;
        Ok(Self { target, connections })
    }

    /// Sends frames for `length`, or until this many bytes were sent; returns the time of each request to the end of its response.
    /// Fails on the first response that is not 202.
    pub async fn send(&mut self, length: Duration, bytes: usize) -> anyhow::Result<Vec<Duration>> {
        let until = Instant::now() + length;
        let most = bytes / self.target.image.len() / self.connections.len().max(1);
        let tasks: Vec<_> = std::mem::take(&mut self.connections)
            .into_iter()
            .enumerate()
            .map(|(number, connection)| tokio::spawn(send(self.target.clone(), number, connection, until, most)))
            .collect();
        let mut times = Vec::new();
        for task in tasks {
            let (connection, taken) = task.await??;
            self.connections.push(connection);
            times.extend(taken);
        }
        Ok(times)
    }
}

async fn connect(port: u16) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.context("the service accepts no connection")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // The next request of the client reports the error.
        drop(connection.await);
    });
    Ok(sender)
}

async fn send(
    target: Target,
    number: usize,
    mut connection: SendRequest<Full<Bytes>>,
    until: Instant,
    most: usize,
) -> anyhow::Result<(SendRequest<Full<Bytes>>, Vec<Duration>)> {
    let Target { port, token, image } = target;
    let host = HeaderValue::try_from(format!("127.0.0.1:{port}"))?;
    let credential = HeaderValue::try_from(format!("Bearer {token}"))?;
    let uri: http::Uri = format!("/v1/frames?stream=camera-{number}").parse()?;
    let mut times = Vec::new();
    while Instant::now() < until && times.len() < most {
        let request = Request::post(uri.clone())
            .header(HOST, host.clone())
            .header(AUTHORIZATION, credential.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("image/jpeg"))
            .body(Full::new(image.clone()))?;
        let started = Instant::now();
        let response = connection.send_request(request).await.context("the service closed the connection")?;
        let status = response.status();
        let body = response.into_body().collect().await.context("the service closed the connection")?.to_bytes();
        ensure!(status == StatusCode::ACCEPTED, "{status}: {}", String::from_utf8_lossy(&body));
        times.push(started.elapsed());
    }
    Ok((connection, times))
}

/// A JPEG header of 640 x 480 pixels, padded to this many bytes with other data. Parsing the header
/// gives the same result as for a real image.
pub fn image(bytes: usize) -> Bytes {
    let tables = [&[0xff, 0xdb, 0, 67, 0][..], &[16; 64], &[0xff, 0xdb, 0, 67, 1], &[17; 64]].concat();
    let mut image = [
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00",
        &tables[..],
        b"\xff\xc0\x00\x11\x08\x01\xe0\x02\x80\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01",
        b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00",
    ]
    .concat();
    let mut state = 1_u32;
    image.resize_with(bytes - 2, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    image.extend(b"\xff\xd9");
    image.into()
}
