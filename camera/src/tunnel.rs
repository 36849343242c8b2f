//! RTSP over TLS with a check of the camera's certificate. FFmpeg's RTSP encrypts and checks nothing, so TLS is done here: FFmpeg connects
//! to a port of this machine, and what it sends goes on to the camera.

mod trust;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::trust::Trust;
use crate::source::Tls;

/// A port of this machine that leads to a camera, as long as this value lives.
pub struct Tunnel {
    port: u16,
    error: Arc<Mutex<Option<String>>>,
    _open: DropGuard,
}

/// Where each connection goes.
#[derive(Clone)]
struct Target {
    host: String,
    port: u16,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl Tunnel {
    /// A tunnel to this camera.
    ///
    /// # Errors
    /// When the authorities cannot be read, or the host is no name of one.
    pub fn open(host: &str, port: u16, tls: &Tls) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = Trust::new(tls, &provider)?;
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(trust)).with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).context("url: the host has no valid name")?;
        let target = Target { host: host.to_owned(), port, name, connector: TlsConnector::from(Arc::new(config)) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (own_port, closed) = (listener.local_addr()?.port(), CancellationToken::new());
        let tunnel = Self { port: own_port, error: Arc::default(), _open: closed.clone().drop_guard() };
        let error = Arc::clone(&tunnel.error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = move || {
            runtime.block_on(closed.run_until_cancelled(accept(listener, target, error)));
            // It may still look up the name of the camera.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("tunnel".to_owned()).spawn(thread)?;
        Ok(tunnel)
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Why the last connection did not reach the camera.
    pub fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, target: Target, error: Arc<Mutex<Option<String>>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((near, _)) = listener.accept().await {
        let (target, error) = (target.clone(), Arc::clone(&error));
        tokio::spawn(async move {
            let mut near = near;
            let failed = forward(&mut near, target).await.err().map(|error| error.to_string());
            // Before the connection is closed, because FFmpeg fails then.
            *error.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        });
    }
}

/// Fails only before the connection with the camera stands.
async fn forward(near: &mut TcpStream, target: Target) -> std::io::Result<()> {
    let far = TcpStream::connect((target.host.as_str(), target.port)).await?;
    let mut far = target.connector.connect(target.name, far).await?;
    // What breaks off later is an error of the source, which FFmpeg sees.
    let _ = copy_bidirectional(near, &mut far).await;
    Ok(())
}
