//! Serving HTTP/2 alone, for a port of gRPC: with prior knowledge, or with TLS.
//!
//! In: connections of a [`Listener`]. Out: responses of a router, whose trailers are kept.
//!
//! Guarantees: connections, streams, headers and windows are bounded ([`Http2Limits`]). A client that answers no ping, reads nothing or
//! calls nothing is disconnected. So is one that cancels many more calls than it finishes: each cancelled call has cost work. A stop is
//! announced by GOAWAY, and open calls finish within the drain time.

mod calls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::edge::Edge;
use super::min_rate_body::{self, MinRate};
use super::tls::{self, Tls};
use super::write_timeout::WriteTimeout;
use super::{Accepted, Listener, accept, backlog, bind, raise_file_limit};
use crate::config::HttpArgs;
use calls::{Call, Calls};

/// Limits of a port of HTTP/2.
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Timeout of a TLS handshake.
    pub handshake: Duration,
    /// Interval at which the TLS files are read again.
    pub tls_reload: Duration,
    /// Maximum number of connections; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Maximum number of calls at the same time on a connection; further ones are refused.
    pub streams: u32,
    /// Largest size of a request's headers, in bytes.
    pub headers: u32,
    /// Bytes of a request body that are received before the handler reads them, on a stream and on a connection.
    pub windows: (u32, u32),
    /// Bytes of a response that wait to be sent, on a stream.
    pub send_buffer: usize,
    /// Minimum rate of a request body.
    pub body: MinRate,
    /// Maximum time in which a client reads no byte.
    pub write: Duration,
    /// Time between pings, and the time limit for their answer.
    pub pings: (Duration, Duration),
    /// Time after which a connection without calls is closed. It may be twice as long.
    pub idle: Duration,
    /// Number of calls that a connection may cancel in addition to those that it finishes.
    pub cancelled: u64,
    /// Time limit for open calls after a stop.
    pub drain: Duration,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            tls_reload: Duration::from_secs(2),
            connections: 10_000,
            streams: 128,
            headers: 16 << 10,
            windows: (256 << 10, 1 << 20),
            send_buffer: 64 << 10,
            body: MinRate { grace: Duration::from_secs(60), bytes_per_second: 1024 },
            write: Duration::from_secs(30),
            pings: (Duration::from_secs(30), Duration::from_secs(20)),
            idle: Duration::from_secs(300),
            cancelled: 200,
            drain: Duration::from_secs(10),
        }
    }
}

/// Opens a port of HTTP/2 with the certificates of the port for clients. `key` is the setting of the address.
///
/// # Errors
/// When the port cannot be opened or a setting is invalid. The message names the setting.
pub async fn listen_http2(settings: &HttpArgs, address: &str, key: &str) -> anyhow::Result<Listener> {
    let tls = Tls::from_settings(settings, tls::HTTP_2)?;
    let edge = Edge { encrypted: tls.is_some(), ..Edge::default() };
    Ok(Listener { tls, edge, ..Listener::from(bind(address, key).await?) })
}

/// Serves `router` until `stop`, then lets open calls end within [`Http2Limits::drain`]. Handlers may extract `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// When the listener fails.
pub async fn serve_http2(
    listener: impl Into<Listener>,
    router: Router,
    limits: Http2Limits,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Listener { tcp, tls, edge, .. } = listener.into();
    raise_file_limit(limits.connections);
    // The task that reloads certificates and the connections end together with the port.
    let serving = stop.child_token();
    let _ended = serving.clone().drop_guard();
    if let Some(tls) = tls.clone() {
        tokio::spawn(serving.clone().run_until_cancelled_owned(tls.reload_changes(limits.tls_reload)));
    }
    let router = Edge { for_programs: true, ..edge }.around(router);
    let port = Arc::new(Port { router, protocol: protocol(&limits), limits, tls, stop: serving });
    let (connections, permits) = (TaskTracker::new(), Arc::new(Semaphore::new(limits.connections)));
    while let Some(accepted) = accept(&tcp, &permits, &stop).await {
        port.spawn(accepted, &connections);
    }
    for accepted in backlog(tcp, &permits) {
        port.spawn(accepted, &connections);
    }
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait()).await.is_err() {
        tracing::warn!("calls were still open {:?} after the stop; their connections were closed", limits.drain);
    }
    Ok(())
}

fn protocol(limits: &Http2Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.headers)
        .initial_stream_window_size(limits.windows.0)
        .initial_connection_window_size(limits.windows.1)
        .max_send_buf_size(limits.send_buffer)
        .keep_alive_interval(limits.pings.0)
        .keep_alive_timeout(limits.pings.1);
    builder
}

/// State that all connections of a port share.
struct Port {
    router: Router,
    protocol: http2::Builder<TokioExecutor>,
    limits: Http2Limits,
    tls: Option<Tls>,
    stop: CancellationToken,
}

impl Port {
    fn spawn(self: &Arc<Self>, accepted: Accepted, connections: &TaskTracker) {
        // Two futures, so that a plain connection does not need the memory of an encrypted one.
        match &self.tls {
            Some(tls) => connections.spawn(self.clone().encrypted(tls.acceptor(), accepted)),
            None => connections.spawn(self.clone().plain(accepted)),
        };
    }

    async fn plain(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, permit } = accepted;
        self.answer(WriteTimeout::new(stream, self.limits.write), peer).await;
        drop(permit);
    }

    /// The handshake runs in this task, so that it does not delay the next connection.
    async fn encrypted(self: Arc<Self>, acceptor: tokio_rustls::TlsAcceptor, accepted: Accepted) {
        let Accepted { stream, peer, permit } = accepted;
        let handshake = acceptor.accept(WriteTimeout::new(stream, self.limits.write));
        let handshake = tokio::time::timeout(self.limits.handshake, handshake);
        match self.stop.run_until_cancelled(handshake).await {
            Some(Ok(Ok(stream))) => self.answer(stream, peer).await,
            Some(Ok(Err(error))) => tracing::debug!(%error, client = %peer, "TLS handshake failed"),
            Some(Err(_)) => tracing::debug!(client = %peer, "TLS handshake timed out"),
            None => {}
        }
        drop(permit);
    }

    async fn answer<I>(&self, io: I, peer: SocketAddr)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let calls = Arc::new(Calls::new(self.limits.cancelled));
        let (router, min_rate, counted) = (self.router.clone(), self.limits.body, calls.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let call = Call::begin(&counted);
            let mut request: Request<Body> = request.map(|body| min_rate_body::with_min_rate(body, min_rate));
            request.extensions_mut().insert(ConnectInfo(peer));
            // A router is always ready; each clone handles one call.
            let answering = router.clone().call(request);
            async move {
                let response = answering.await?;
                Ok::<_, Infallible>(response.map(|body| call.until_end_of(body)))
            }
        });
        let mut connection = pin!(self.protocol.serve_connection(TokioIo::new(io), service));
        let cause = tokio::select! {
            ended = connection.as_mut() => return log_end(ended, peer),
            () = calls.too_many_cancelled() => return log_closed("cancelled calls", peer),
            () = calls.idle(self.limits.idle) => "idle",
            () = self.stop.cancelled() => "stop",
        };
        // The client gets GOAWAY, and what it has called is answered.
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection.as_mut() => log_end(ended, peer),
            () = calls.too_many_cancelled() => log_closed("cancelled calls", peer),
            () = tokio::time::sleep(self.limits.drain) => log_closed(cause, peer),
        }
    }
}

/// A client that disconnects or sends invalid HTTP is not an error of the service. hyper has sent a response if possible.
fn log_end(ended: hyper::Result<()>, peer: SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!(%error, client = %peer, "connection ended");
    }
}

fn log_closed(cause: &'static str, peer: SocketAddr) {
    metrics::counter!("sightline_http2_connections_closed_total", "cause" => cause).increment(1);
    tracing::debug!(cause, client = %peer, "connection closed");
}
