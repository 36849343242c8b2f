//! HTTP serving for a public port: TLS, timeouts for handshakes, heads and bodies, bounded buffers and connections, request
//! ids, access log, traces, CORS, graceful shutdown.
//!
//! Every service uses the same code: [`listen`] opens the port, [`serve`] serves requests on it: HTTP/1.1, with TLS 1.2 or
//! 1.3 if a certificate is set. A port for gRPC is HTTP/2 alone: [`listen_http2`], [`serve_http2`].

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::CONNECTION;
use http::{HeaderValue, Request};
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

use crate::config::HttpArgs;
use crate::shutdown;
use crate::traces::Traces;
use settings::{Check, SettingErrors};

mod access;
mod cors;
mod cross_origin;
mod edge;
mod for_clients;
mod http2;
mod min_rate_body;
mod operator;
mod request_id;
mod request_span;
mod tls;
mod write_timeout;

pub use access::{Tenant, set_tenant};
pub use for_clients::{ForClients, reachable};
pub use http2::{Http2Limits, listen_http2, serve_http2};
pub use min_rate_body::{MinRate, TooSlow};
pub use operator::OperatorPorts;
pub use request_id::current as request_id;
pub use request_span::traceparent;

use edge::Edge;
use tls::Tls;
use write_timeout::WriteTimeout;

/// Time after a stop in which a connection that was just accepted can send its first request. hyper then closes it.
const FIRST_REQUEST: Duration = Duration::from_millis(50);

/// Limits of a port.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Timeout of a TLS handshake.
    pub handshake: Duration,
    /// Interval at which the TLS files are read again.
    pub tls_reload: Duration,
    /// Timeout of a request head. It also bounds the idle time of a kept-alive connection.
    pub head: Duration,
    /// Minimum rate of a request body.
    pub body: MinRate,
    /// Size of the buffer per connection in bytes; a longer head is refused.
    pub buffer: usize,
    /// Maximum number of connections; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Maximum time in which a client reads no byte of its response.
    pub write: Duration,
    /// Bytes of the kernel's send buffer per connection. If not set, the kernel chooses up to several megabytes.
    pub send_buffer: Option<usize>,
    /// Time limit for open requests after a stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            tls_reload: Duration::from_secs(2),
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

/// An open port with its TLS and CORS settings.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Tls>,
    edge: Edge,
    stop_delay: Duration,
    leaving: CancellationToken,
}

impl Listener {
    /// From `announced` on, each response closes its connection, so that the client opens the next one to another instance. Returns
    /// the token by which the service stops, after the delay of the settings.
    pub fn leave(&mut self, announced: CancellationToken) -> CancellationToken {
        let stop = shutdown::after(self.stop_delay, &announced);
        self.leaving = announced;
        stop
    }

    /// The announcement of a stop.
    pub fn leaving(&self) -> CancellationToken {
        self.leaving.clone()
    }

    /// The local address.
    ///
    /// # Errors
    /// When the operating system does not report it.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The address as a URL.
    ///
    /// # Errors
    /// When the operating system does not report it.
    pub fn url(&self) -> std::io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.local_addr()?))
    }

    /// How a client on this machine reaches the port.
    ///
    /// # Errors
    /// When the operating system does not report the local address.
    pub fn for_clients(&self) -> std::io::Result<ForClients> {
        let address = self.local_addr()?;
        Ok(self.tls.as_ref().map_or_else(|| ForClients::plain(address), |tls| tls.for_clients(address)))
    }

    /// Turns the access log off, for a port whose requests another port logs.
    #[must_use]
    pub fn unlogged(mut self) -> Self {
        self.edge.unlogged = true;
        self
    }

    /// Starts a span for each request.
    #[must_use]
    pub fn traced(mut self, traces: Traces) -> Self {
        self.edge.traces = traces;
        self
    }
}

/// A port without TLS and CORS.
impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None, edge: Edge::default(), stop_delay: Duration::ZERO, leaving: CancellationToken::new() }
    }
}

/// Opens the port for clients.
///
/// # Errors
/// When the port cannot be opened or a setting is invalid. The message names the setting.
pub async fn listen(settings: &HttpArgs) -> anyhow::Result<Listener> {
    let (tls, cors) = (Tls::from_settings(settings, tls::HTTP_1)?, cors::layer(&settings.cors_origins)?);
    let tcp = bind(&settings.http_addr, "SIGHTLINE_HTTP_ADDR").await?;
    let edge = Edge { encrypted: tls.is_some(), cors, ..Edge::default() };
    Ok(Listener { tls, edge, stop_delay: settings.stop_delay, ..Listener::from(tcp) })
}

/// Checks that certificates are readable and match their key, and that origins are valid.
impl Check for HttpArgs {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(Tls::from_settings(self, tls::HTTP_1));
        errors.collect(cors::layer(&self.cors_origins));
    }
}

async fn bind(address: &str, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{key}: {address} is in use by another program; stop it or set {key} to another address")
        }
        std::io::ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{key}: no permission to listen on {address}; set a port above 1023")
        }
        _ => anyhow::anyhow!("{key}: cannot listen on {address}: {error}; set {key} to an address like 127.0.0.1:8080"),
    })
}

/// Serves `router` until `stop`, then lets open requests end within [`Limits::drain`]. Handlers may extract `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: impl Into<Listener>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Listener { tcp, tls, edge, leaving, .. } = listener.into();
    raise_file_limit(limits.connections);
    // The task that reloads certificates ends together with the port.
    let serving = stop.child_token();
    let _ended = serving.clone().drop_guard();
    if let Some(tls) = tls.clone() {
        tokio::spawn(serving.clone().run_until_cancelled_owned(tls.reload_changes(limits.tls_reload)));
    }
    let router = edge.around(router);
    let port = Arc::new(Port { router, protocol: protocol(&limits), limits, tls, leaving, stop: serving });
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(limits.connections));
    while let Some(accepted) = accept(&tcp, &permits, &stop).await {
        port.spawn(accepted, graceful.watcher());
    }
    for accepted in backlog(tcp, &permits) {
        port.spawn(accepted, graceful.watcher());
    }
    tokio::time::sleep(FIRST_REQUEST).await;
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open {:?} after the stop; their connections were closed", limits.drain);
    }
    Ok(())
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(limits.buffer);
    builder
}

/// A connection and its permit.
struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
}

/// State that all connections of a port share.
struct Port {
    router: Router,
    protocol: http1::Builder,
    limits: Limits,
    tls: Option<Tls>,
    leaving: CancellationToken,
    stop: CancellationToken,
}

impl Port {
    fn spawn(self: &Arc<Self>, accepted: Accepted, watcher: Watcher) {
        if !self.bound(&accepted.stream) {
            return;
        }
        // Two futures, so that a plain connection does not need the memory of an encrypted one.
        match &self.tls {
            Some(tls) => tokio::spawn(self.clone().encrypted(tls.acceptor(), accepted, watcher)),
            None => tokio::spawn(self.clone().plain(accepted, watcher)),
        };
    }

    /// Sets the kernel's send buffer. Returns whether it succeeded.
    fn bound(&self, stream: &TcpStream) -> bool {
        let Some(bytes) = self.limits.send_buffer else { return true };
        // Set per connection: one that waited in the queue does not inherit it from the listener.
        let bounded = SockRef::from(stream).set_send_buffer_size(bytes);
        if let Err(error) = &bounded {
            tracing::warn!(%error, "the send buffer of a connection cannot be set; the connection is closed");
        }
        bounded.is_ok()
    }

    async fn plain(self: Arc<Self>, accepted: Accepted, watcher: Watcher) {
        let Accepted { stream, peer, permit } = accepted;
        self.answer(WriteTimeout::new(stream, self.limits.write), peer, watcher).await;
        drop(permit);
    }

    /// The handshake runs in this task, so that it does not delay the next connection.
    async fn encrypted(self: Arc<Self>, acceptor: tokio_rustls::TlsAcceptor, accepted: Accepted, watcher: Watcher) {
        let Accepted { stream, peer, permit } = accepted;
        let handshake = acceptor.accept(WriteTimeout::new(stream, self.limits.write));
        let handshake = tokio::time::timeout(self.limits.handshake, handshake);
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.answer(stream, peer, watcher).await,
            Some(Ok(Err(error))) => tracing::debug!(%error, client = %peer, "TLS handshake failed"),
            Some(Err(_)) => tracing::debug!(client = %peer, "TLS handshake timed out"),
            None => {}
        }
        drop(permit);
    }

    async fn answer<I>(&self, io: I, peer: SocketAddr, watcher: Watcher)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, min_rate, leaving) = (self.router.clone(), self.limits.body, self.leaving.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request: Request<Body> = request.map(|body| min_rate_body::with_min_rate(body, min_rate));
            request.extensions_mut().insert(ConnectInfo(peer));
            // A router is always ready; each clone handles one request.
            let answering = router.clone().call(request);
            let leaving = leaving.clone();
            async move {
                let mut response = answering.await?;
                if leaving.is_cancelled() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        // A client that disconnects or sends invalid HTTP is not an error of the service. hyper has sent a response if possible.
        if let Err(error) = watcher.watch(self.protocol.serve_connection(TokioIo::new(io), service)).await {
            tracing::debug!(%error, client = %peer, "connection ended");
        }
    }
}

/// Raises the limit of open files. Each connection needs one, and the usual limit is 1024.
fn raise_file_limit(connections: usize) {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) if files < connections as u64 => {
            tracing::warn!(
                "the limit of {files} open files is below {connections} connections; raise it with `ulimit -n` or LimitNOFILE"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// Waits for a permit and then for a connection; `None` after `stop`. A failed accept (no file descriptors left) is retried.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>, stop: &CancellationToken) -> Option<Accepted> {
    let accepted = async {
        // The semaphore is never closed.
        let permit = permits.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Sets TCP_NODELAY: alerts are small and urgent.
                    drop(stream.set_nodelay(true));
                    return Some(Accepted { stream, peer, permit });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accepted).await.flatten()
}

/// Closes the port. Returns the connections that the kernel has accepted already: it would reset them, and their clients count
/// them as open.
fn backlog(listener: TcpListener, permits: &Arc<Semaphore>) -> Vec<Accepted> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let waiting = || {
        let permit = permits.clone().try_acquire_owned().ok()?;
        let (stream, peer) = listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(Accepted { stream: TcpStream::from_std(stream).ok()?, peer, permit })
    };
    std::iter::from_fn(waiting).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use futures::stream;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpSocket;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn memory_for_a_client_that_reads_nothing_is_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let read = Arc::new(AtomicUsize::new(0));
        let (gone, mut end) = mpsc::channel::<Infallible>(1);
        let endless = {
            let read = read.clone();
            get(move || async move {
                let pieces = stream::repeat_with(move || {
                    let _alive = &gone;
                    read.fetch_add(4096, Ordering::Relaxed);
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
        // The write times out after a second; then the stream is dropped.
        while read.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(end.recv().await.is_none());
        let read = read.load(Ordering::Relaxed);
        assert!(read < 512 << 10, "{read} bytes were read for it");
    }
}
