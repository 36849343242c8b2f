//! HTTP serving with what a public port needs: TLS, deadlines for handshakes, heads and bodies, bounded buffers, bounded
//! connections, an edge that every request passes, a clean close.
//!
//! One path serves every service: [`listen`] opens the port as the settings say, [`serve`] answers on it. It speaks
//! HTTP/1.1, with TLS 1.2 and 1.3 where a certificate is set.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::Health;
use crate::config::HttpArgs;

mod access;
mod cors;
mod edge;
mod min_rate_body;
mod request_id;
mod tls;
mod write_timeout;

pub use access::note_tenant;
pub use min_rate_body::{MinRate, TooSlow};
pub use request_id::current as request_id;

use edge::Edge;
use tls::Tls;
use write_timeout::WriteTimeout;

/// What a port bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a connection may take to agree on TLS.
    pub handshake: Duration,
    /// How long a connection may take to send a request's head, or nothing.
    pub head: Duration,
    /// How fast a request's body must come.
    pub body: MinRate,
    /// Bytes of buffer per connection; a longer head is refused.
    pub buffer: usize,
    /// Most connections; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take no bytes of what is sent to it.
    pub write: Duration,
    /// Bytes that the kernel holds for a client that does not take them; as many as it likes, up to megabytes, when not set.
    pub send_buffer: Option<usize>,
    /// How long open requests may run on after a stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body: MinRate { grace: Duration::from_secs(10), bytes_per_second: 1024 },
            buffer: 64 << 10,
            connections: 20_000,
            write: Duration::from_secs(30),
            send_buffer: None,
            drain: Duration::from_secs(10),
        }
    }
}

/// An open port, and how it is spoken on.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Tls>,
    edge: Edge,
}

impl Listener {
    /// The address that it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Where clients find it.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn url(&self) -> std::io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.local_addr()?))
    }

    /// The same without lines in the access log, for what is reached through a port that has them.
    #[must_use]
    pub fn unlogged(mut self) -> Self {
        self.edge.unlogged = true;
        self
    }
}

/// A port without TLS, and for no web page of others.
impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None, edge: Edge::default() }
    }
}

/// Opens the port for clients.
///
/// # Errors
/// When it is taken, not ours or no address, or the settings around it make no sense; the message names the setting.
pub async fn listen(settings: &HttpArgs) -> anyhow::Result<Listener> {
    let (tls, cors) = (Tls::of(settings)?, cors::layer(&settings.cors_origins)?);
    let tcp = bind(&settings.http_addr, "SIGHTLINE_HTTP_ADDR").await?;
    let edge = Edge { encrypted: tls.is_some(), cors, unlogged: false };
    Ok(Listener { tcp, tls, edge })
}

async fn bind(address: &str, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{key}: {address} is taken by another program; stop it or set {key} to another address")
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{key}: no permission to listen on {address}; set a port above 1023")
        }
        _ => anyhow::anyhow!("{key}: cannot listen on {address}: {error}; set {key} to an address like 127.0.0.1:8080"),
    })
}

/// Serves `router` until `stop`, then lets open requests end within [`Limits::drain`]. Handlers may ask for
/// `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: impl Into<Listener>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Listener { tcp, tls, edge } = listener.into();
    descriptors(limits.connections);
    // What goes on beside the serving ends with it.
    let serving = stop.child_token();
    let _ended = serving.clone().drop_guard();
    if let Some(tls) = tls.clone() {
        tokio::spawn(serving.clone().run_until_cancelled_owned(tls.keep_fresh()));
    }
    let port = Arc::new(Port { router: edge.before(router), protocol: protocol(&limits), limits, tls, stop: serving });
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections));
    while let Some(accepted) = next(&tcp, &places, &stop).await {
        if port.bound(&accepted.stream) {
            let watcher = graceful.watcher();
            // Apart, so that a plain connection does not take the memory of an encrypted one.
            match &port.tls {
                Some(tls) => tokio::spawn(port.clone().encrypted(tls.acceptor(), accepted, watcher)),
                None => tokio::spawn(port.clone().plain(accepted, watcher)),
            };
        }
    }
    drop(tcp);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open {:?} after the stop and were cut", limits.drain);
    }
    Ok(())
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(limits.buffer);
    builder
}

/// A connection, with its place among those that there may be.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
}

/// What all connections of a port share.
struct Port {
    router: Router,
    protocol: http1::Builder,
    limits: Limits,
    tls: Option<Tls>,
    stop: CancellationToken,
}

impl Port {
    /// Bounds what the kernel holds for a connection; whether it could.
    fn bound(&self, stream: &TcpStream) -> bool {
        let Some(bytes) = self.limits.send_buffer else { return true };
        // Of each connection: what the listener has is inherited only by those that come after it was set.
        let bounded = SockRef::from(stream).set_send_buffer_size(bytes);
        if let Err(error) = &bounded {
            tracing::warn!(%error, "a connection's buffer could not be bounded; it is closed");
        }
        bounded.is_ok()
    }

    async fn plain(self: Arc<Self>, accepted: Accepted, watcher: Watcher) {
        let Accepted { stream, peer, place } = accepted;
        self.answer(WriteTimeout::new(stream, self.limits.write), peer, watcher).await;
        drop(place);
    }

    /// Shakes hands first: here and not before the next connection is accepted, which need not wait for it.
    async fn encrypted(self: Arc<Self>, acceptor: tokio_rustls::TlsAcceptor, accepted: Accepted, watcher: Watcher) {
        let Accepted { stream, peer, place } = accepted;
        let shaking = acceptor.accept(WriteTimeout::new(stream, self.limits.write));
        let shaking = tokio::time::timeout(self.limits.handshake, shaking);
        match self.stop.run_until_cancelled(shaking).await {
            Some(Ok(Ok(stream))) => self.answer(stream, peer, watcher).await,
            Some(Ok(Err(error))) => tracing::debug!(%error, client = %peer, "no TLS connection came about"),
            Some(Err(_)) => tracing::debug!(client = %peer, "a TLS handshake took too long"),
            None => {}
        }
        drop(place);
    }

    async fn answer<I>(&self, io: I, peer: SocketAddr, watcher: Watcher)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, min_rate) = (self.router.clone(), self.limits.body);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request: Request<Body> = request.map(|body| min_rate_body::with_min_rate(body, min_rate));
            request.extensions_mut().insert(ConnectInfo(peer));
            // A router is always ready, and each copy answers one request.
            router.clone().call(request)
        });
        // A client that breaks off or talks nonsense is its own affair; hyper has answered what could be answered.
        if let Err(error) = watcher.watch(self.protocol.serve_connection(TokioIo::new(io), service)).await {
            tracing::debug!(%error, client = %peer, "connection ended");
        }
    }
}

/// Every connection is a file to the system, which by default allows a program a thousand, and more if it asks.
fn descriptors(connections: usize) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) if files < connections as u64 => {
            tracing::warn!(
                "this process may open {files} files and take {connections} connections; raise the limit with `ulimit -n` \
                 or LimitNOFILE"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// The next connection once there is a place for it, or nothing on `stop`. A failed accept (descriptors used up) is waited
/// out: the service stays.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>, stop: &CancellationToken) -> Option<Accepted> {
    let next = async {
        // The semaphore is never closed.
        let place = places.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Alerts are small and late ones are worthless: never wait to fill a packet.
                    drop(stream.set_nodelay(true));
                    return Some(Accepted { stream, peer, place });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    stop.run_until_cancelled(next).await.flatten()
}

/// The operator's port: `/healthz`, `/readyz`, `/metrics`, and whatever `extra` adds; nothing when the address is `off`.
///
/// # Errors
/// When the port cannot be opened.
pub async fn admin(address: &str, health: &Health, extra: Router) -> anyhow::Result<Option<(TcpListener, Router)>> {
    if address == "off" {
        return Ok(None);
    }
    let listener = bind(address, "SIGHTLINE_ADMIN_ADDR").await?;
    let metrics = get(|| async { crate::telemetry::metrics().render() });
    Ok(Some((listener, health.router().route("/metrics", metrics).merge(extra))))
}

/// Serves the operator's port, if there is one, until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve_admin(port: Option<(TcpListener, Router)>, stop: CancellationToken) -> anyhow::Result<()> {
    match port {
        Some((listener, router)) => serve(listener, router, Limits::default(), stop).await,
        None => {
            stop.cancelled().await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::{Body, Bytes};
    use futures::stream;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpSocket;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_waits_for_a_client_that_reads_nothing_is_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let (gone, mut end) = mpsc::channel::<Infallible>(1);
        let endless = {
            let taken = taken.clone();
            get(move || async move {
                let pieces = stream::repeat_with(move || {
                    let _alive = &gone;
                    taken.fetch_add(4096, Ordering::Relaxed);
                    Ok::<_, Infallible>(Bytes::from_static(&[0; 4096]))
                });
                Body::from_stream(pieces)
            })
        };
        let limits = Limits { send_buffer: Some(64 << 10), write: Duration::from_secs(1), ..Limits::default() };
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, Router::new().route("/", endless), limits, stop.clone()));

        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut client = socket.connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
        // The service gives the client up after a second, and stops; then nothing holds the stream any more.
        while taken.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(end.recv().await.is_none());
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken < 512 << 10, "{taken} bytes were taken for it");
    }
}
