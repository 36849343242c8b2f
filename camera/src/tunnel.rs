//! RTSP over TLS with a check of the camera's certificate. FFmpeg's RTSP encrypts and checks nothing, so TLS is done here: FFmpeg connects
//! to a port of this machine, and what it sends goes on to the camera.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::source::Tls;

/// A port of this machine that leads to a camera, as long as this value lives.
pub struct Tunnel {
    port: u16,
    error: Arc<Mutex<Option<String>>>,
    _open: DropGuard,
}

/// What each connection needs.
#[derive(Clone)]
struct Way {
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
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(authorities(tls)?).with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).context("url: the host has no valid name")?;
        let way = Way { host: host.to_owned(), port, name, connector: TlsConnector::from(Arc::new(config)) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let (own_port, closed) = (listener.local_addr()?.port(), CancellationToken::new());
        let tunnel = Self { port: own_port, error: Arc::default(), _open: closed.clone().drop_guard() };
        let error = Arc::clone(&tunnel.error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = move || {
            runtime.block_on(closed.run_until_cancelled(accept(listener, way, error)));
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

fn authorities(tls: &Tls) -> anyhow::Result<RootCertStore> {
    let mut authorities = RootCertStore::empty();
    match &tls.ca_file {
        Some(path) => {
            let unreadable = || format!("tls_ca_file: {} cannot be read", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
                authorities.add(certificate.with_context(unreadable)?)?;
            }
        }
        // One that cannot be used is no reason to trust none.
        None => drop(authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(authorities)
}

async fn accept(listener: TcpListener, way: Way, error: Arc<Mutex<Option<String>>>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((near, _)) = listener.accept().await {
        let (way, error) = (way.clone(), Arc::clone(&error));
        tokio::spawn(async move {
            let mut near = near;
            let failed = forward(&mut near, way).await.err().map(|error| error.to_string());
            // Before the connection is closed, because FFmpeg fails then.
            *error.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        });
    }
}

/// Fails only before the connection with the camera stands.
async fn forward(near: &mut TcpStream, way: Way) -> std::io::Result<()> {
    let far = TcpStream::connect((way.host.as_str(), way.port)).await?;
    let mut far = way.connector.connect(way.name, far).await?;
    // What breaks off later is an error of the source, which FFmpeg sees.
    let _ = copy_bidirectional(near, &mut far).await;
    Ok(())
}
