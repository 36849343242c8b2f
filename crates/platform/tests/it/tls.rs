//! TLS: which handshakes succeed, and changed files.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use platform::config::HttpArgs;
use platform::http::{Limits, listen};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::{Authority, Pair};
use crate::test_server::{TIMEOUT, TestServer, client, encrypted, plain};

#[tokio::test]
async fn a_client_must_trust_the_authority() {
    let authority = Authority::new();
    let (server, _folder) = TestServer::encrypted(&authority).await;
    let trusting = client(&authority).build().unwrap();
    let response = trusting.get(server.url("https", "/")).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "hello");

    let other_client = client(&Authority::new()).build().unwrap();
    let error = other_client.get(server.url("https", "/")).send().await.unwrap_err();
    assert!(format!("{error:?}").contains("InvalidCertificate"), "{error:?}");
    assert!(trusting.get(server.url("http", "/")).send().await.is_err());
}

#[tokio::test]
async fn with_a_client_ca_clients_need_a_certificate_of_it() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let client_ca = folder.path().join("clients.pem");
    std::fs::write(&client_ca, clients.pem()).unwrap();
    let settings = HttpArgs { tls_client_ca: Some(client_ca), ..encrypted(folder.path(), &authority.server()) };
    let server = TestServer::start(&settings, Limits::default()).await;
    let get = |client: reqwest::ClientBuilder| client.build().unwrap().get(server.url("https", "/")).send();

    assert!(get(client(&authority)).await.is_err());
    assert!(get(client(&authority).identity(authority.client().identity())).await.is_err());
    assert!(get(client(&authority).identity(clients.server().identity())).await.is_err());
    let response = get(client(&authority).identity(clients.client().identity())).await.unwrap();
    assert_eq!(response.text().await.unwrap(), "hello");
}

#[tokio::test]
async fn changed_files_apply_to_new_connections_only() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (authority.server(), authority.server());
    let settings = encrypted(folder.path(), &first);
    let period = Duration::from_millis(100);
    let limits = Limits { head: TIMEOUT, tls_reload: period, ..Limits::default() };
    let server = TestServer::start(&settings, limits).await;
    let mut open = connect(&server, &authority).await;
    assert_eq!(shown(&open), der(&first));
    assert!(hello(&mut open).await);

    // A key of another certificate changes nothing.
    std::fs::write(folder.path().join("server.key"), &second.key).unwrap();
    tokio::time::sleep(5 * period).await;
    assert_eq!(shown(&connect(&server, &authority).await), der(&first));

    second.write(folder.path());
    let started = Instant::now();
    while shown(&connect(&server, &authority).await) != der(&second) {
        assert!(started.elapsed() < TIMEOUT, "the new certificate is not used");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(hello(&mut open).await);
}

#[tokio::test]
async fn a_stalled_handshake_times_out_without_blocking_others() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let settings = encrypted(folder.path(), &authority.server());
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    let server = TestServer::start(&settings, limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut started = TcpStream::connect(server.address).await.unwrap();
    // Only the header of the record that would contain a ClientHello.
    started.write_all(&[0x16, 3, 1, 1, 0, 1]).await.unwrap();

    let mut other = connect(&server, &authority).await;
    assert!(hello(&mut other).await);
    for slow in [&mut silent, &mut started] {
        let closed = tokio::time::timeout(TIMEOUT, slow.read(&mut [0; 64])).await.expect("the handshake times out");
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }
}

#[tokio::test]
async fn faults_of_the_files_name_the_setting() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let (pair, other) = (authority.server(), authority.server());
    let good = encrypted(folder.path(), &pair);
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let missing = Some(Path::new("/nowhere/file.pem").to_owned());
    let encrypted_key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (settings, setting, reason) in [
        (HttpArgs { tls_key: None, ..good.clone() }, "SIGHTLINE_TLS_KEY", "not set"),
        (HttpArgs { tls_cert: None, ..good.clone() }, "SIGHTLINE_TLS_CERT", "not set"),
        (HttpArgs { tls_client_ca: file("ca", &authority.pem()), ..plain() }, "SIGHTLINE_TLS_CLIENT_CA", "without"),
        (HttpArgs { tls_cert: missing.clone(), ..good.clone() }, "SIGHTLINE_TLS_CERT", "/nowhere/file.pem"),
        (HttpArgs { tls_key: missing.clone(), ..good.clone() }, "SIGHTLINE_TLS_KEY", "/nowhere/file.pem"),
        (HttpArgs { tls_client_ca: missing, ..good.clone() }, "SIGHTLINE_TLS_CLIENT_CA", "/nowhere/file.pem"),
        (HttpArgs { tls_key: file("other", &other.key), ..good.clone() }, "SIGHTLINE_TLS_KEY", "does not match"),
        (HttpArgs { tls_key: file("none", "hunter2"), ..good.clone() }, "SIGHTLINE_TLS_KEY", "no private key"),
        (HttpArgs { tls_key: file("locked", encrypted_key), ..good.clone() }, "SIGHTLINE_TLS_KEY", "encrypted"),
        (HttpArgs { tls_cert: file("empty", ""), ..good.clone() }, "SIGHTLINE_TLS_CERT", "no certificate"),
        (HttpArgs { tls_client_ca: file("void", "x"), ..good.clone() }, "SIGHTLINE_TLS_CLIENT_CA", "no certificate"),
    ] {
        let error = listen(&settings).await.err().unwrap().to_string();
        assert!(error.starts_with(setting) && error.contains(reason), "{setting}, {reason}: {error}");
        assert!(!error.contains('\n') && !error.contains("hunter2"), "{error}");
    }
    listen(&good).await.unwrap();
}

/// The server's certificate.
fn shown(connection: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    connection.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

fn der(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()
}

async fn connect(server: &TestServer, authority: &Authority) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(server.address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

/// Sends a request on an open connection. Returns whether it was answered.
async fn hello(connection: &mut TlsStream<TcpStream>) -> bool {
    connection.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"hello") {
        let mut piece = [0; 1024];
        let read = tokio::time::timeout(TIMEOUT, connection.read(&mut piece)).await.unwrap().unwrap();
        if read == 0 {
            return false;
        }
        response.extend_from_slice(&piece[..read]);
    }
    response.starts_with(b"HTTP/1.1 200")
}
