//! HTTP serving with the limits that a public port needs: header deadline, bounded buffers, bounded connections, clean close.

use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::Health;

mod patient;
mod peer;

pub use peer::Peer;

/// What a port bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a connection may take to send a request's head.
    pub head: Duration,
    /// Bytes of buffer per connection.
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
            head: Duration::from_secs(10),
            buffer: 64 << 10,
            connections: 20_000,
            write: Duration::from_secs(30),
            send_buffer: None,
            drain: Duration::from_secs(10),
        }
    }
}

/// Opens a port.
///
/// # Errors
/// When it is taken, not ours or no address; the message names the setting.
pub async fn listen(address: &str, key: &str) -> anyhow::Result<TcpListener> {
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

/// Serves `router` until `stop`, then lets open requests end within [`Limits::drain`].
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    descriptors(limits.connections);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(limits.buffer);
    let graceful = GracefulShutdown::new();
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(limits.connections));
    loop {
        let place = places.clone().acquire_owned().await.context("connection places")?;
        let Some(stream) = next(&listener, &stop).await else { break };
        if let Some(bytes) = limits.send_buffer {
            // Of each connection: what the listener has is inherited only by those that come after it was set.
            if let Err(error) = SockRef::from(&stream).set_send_buffer_size(bytes) {
                tracing::warn!(%error, "a connection's buffer could not be bounded; it is closed");
                continue;
            }
        }
        let service = TowerToHyperService::new(peer::Known::of(&stream, router.clone()));
        let stream = patient::Patient::new(stream, limits.write);
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A client that breaks off or talks nonsense is its own affair; hyper has answered what could be answered.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still open {:?} after the stop and were cut", limits.drain);
    }
    Ok(())
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

/// The next connection, or nothing on `stop`. A failed accept (descriptors used up) is waited out: the service stays.
async fn next(listener: &TcpListener, stop: &CancellationToken) -> Option<TcpStream> {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                // Alerts are small and late ones are worthless: never wait to fill a packet.
                drop(stream.set_nodelay(true));
                return Some(stream);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The operator's port: `/healthz`, `/readyz`, `/metrics`, and whatever `extra` adds; nothing when the address is `off`.
///
/// # Errors
/// When the port cannot be opened.
pub async fn admin(address: &str, health: &Health, extra: Router) -> anyhow::Result<Option<(TcpListener, Router)>> {
    if address == "off" {
        return Ok(None);
    }
    let listener = listen(address, "SIGHTLINE_ADMIN_ADDR").await?;
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
