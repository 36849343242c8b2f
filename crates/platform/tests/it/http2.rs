//! A port of HTTP/2: who can speak to it, and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::Version;
use platform::config::HttpArgs;
use platform::http::{Http2Limits, listen_http2, serve_http2};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::certificates::Authority;
use crate::test_server::{TIMEOUT, client, encrypted, plain, routes};

struct Http2Server {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Drop for Http2Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Http2Server {
    async fn start(settings: &HttpArgs, routes: Router) -> Self {
        let listener = listen_http2(settings, "127.0.0.1:0", "SIGHTLINE_GRPC_ADDR").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let serving = tokio::spawn(serve_http2(listener, routes, Http2Limits::default(), stop.clone()));
        Self { address, stop, serving }
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{path}", self.address.port())
    }
}

#[tokio::test]
async fn with_tls_the_handshake_offers_http_2_alone() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let server = Http2Server::start(&encrypted(folder.path(), &authority.server()), routes()).await;
    let response = client(&authority).build().unwrap().get(server.url("https", "/")).send().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert!(response.headers().contains_key("x-request-id"));
    assert!(!response.headers().contains_key("content-security-policy"), "only programs call this port");
    assert_eq!(response.text().await.unwrap(), "hello");
    let old = client(&authority).http1_only().build().unwrap();
    assert!(old.get(server.url("https", "/")).send().await.is_err());
}

#[tokio::test]
async fn without_tls_the_client_must_know_the_protocol() {
    let server = Http2Server::start(&plain(), routes()).await;
    let knowing = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let response = knowing.get(server.url("http", "/")).send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "hello");
    let posted = knowing.post(server.url("http", "/length")).body(vec![7; 100_000]).send().await.unwrap();
    assert_eq!(posted.text().await.unwrap(), "100000");
    let old = reqwest::Client::builder().no_proxy().http1_only().build().unwrap();
    assert!(old.get(server.url("http", "/")).send().await.is_err());
}

#[tokio::test]
async fn open_calls_are_answered_after_a_stop() {
    let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (begun, release) = (begun.clone(), release.clone());
        get(move || async move {
            begun.notify_one();
            release.notified().await;
            "done"
        })
    };
    let mut server = Http2Server::start(&plain(), Router::new().route("/slow", slow)).await;
    let knowing = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let call = tokio::spawn(knowing.get(server.url("http", "/slow")).send());
    begun.notified().await;
    server.stop.cancel();
    // The port is closed while the call is open.
    while tokio::net::TcpStream::connect(server.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    release.notify_one();
    assert_eq!(call.await.unwrap().unwrap().text().await.unwrap(), "done");
    tokio::time::timeout(TIMEOUT, &mut server.serving).await.expect("the service stops").unwrap().unwrap();
}
