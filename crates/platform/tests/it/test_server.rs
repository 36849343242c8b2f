//! A service with a few routes, which stops when it is dropped.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use platform::config::HttpArgs;
use platform::http::{Limits, TooSlow, listen, serve, set_tenant};
use platform::problem;
use platform::traces::Traces;
use reqwest::Certificate;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::certificates::{Authority, Pair};

/// Time limit of every step of a test.
pub const TIMEOUT: Duration = Duration::from_secs(30);

pub struct TestServer {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub serving: JoinHandle<anyhow::Result<()>>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A port without TLS and CORS.
pub fn plain() -> HttpArgs {
    HttpArgs {
        http_addr: "127.0.0.1:0".to_owned(),
        tls_cert: None,
        tls_key: None,
        tls_client_ca: None,
        cors_origins: Vec::new(),
        stop_delay: Duration::ZERO,
    }
}

/// A port with TLS; writes the files to `folder`.
pub fn encrypted(folder: &Path, pair: &Pair) -> HttpArgs {
    let (cert, key) = pair.write(folder);
    HttpArgs { tls_cert: Some(cert), tls_key: Some(key), ..plain() }
}

impl TestServer {
    pub async fn start(settings: &HttpArgs, limits: Limits) -> Self {
        Self::start_traced(settings, limits, Traces::off()).await
    }

    pub async fn start_traced(settings: &HttpArgs, limits: Limits, traces: Traces) -> Self {
        let listener = listen(settings).await.unwrap().traced(traces);
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let serving = tokio::spawn(serve(listener, routes(), limits, stop.clone()));
        Self { address, stop, serving }
    }

    /// A server with TLS and a certificate of `authority`. The folder contains its files.
    pub async fn encrypted(authority: &Authority) -> (Self, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let settings = encrypted(folder.path(), &authority.server());
        (Self::start(&settings, Limits::default()).await, folder)
    }

    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{path}", self.address.port())
    }
}

/// A client that trusts only this authority.
pub fn client(authority: &Authority) -> reqwest::ClientBuilder {
    let authority = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    reqwest::Client::builder().no_proxy().tls_built_in_root_certs(false).add_root_certificate(authority)
}

pub fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/length", post(length))
        .route("/refused", get(|| async { problem::response(StatusCode::CONFLICT, "conflict", "no".to_owned()) }))
        .route("/things/{id}", get(of_a_tenant))
        .route("/proto", get(proto))
        .route("/traceparent", get(traceparents))
        .route("/failing", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/healthz", get(|| async { "well" }))
}

/// Responds with the length of the body.
async fn length(request: Request) -> Response {
    match to_bytes(request.into_body(), 1 << 20).await {
        Ok(bytes) => bytes.len().to_string().into_response(),
        Err(error) if TooSlow::caused(&error) => {
            problem::response(StatusCode::REQUEST_TIMEOUT, "slow_upload", error.to_string())
        }
        Err(error) => problem::response(StatusCode::BAD_REQUEST, "malformed", error.to_string()),
    }
}

async fn of_a_tenant(request: Request) -> Body {
    set_tenant(request.extensions(), "tenant-7");
    Body::from("a thing")
}

/// Responds with `X-Forwarded-Proto`.
async fn proto(request: Request) -> String {
    request.headers().get("x-forwarded-proto").map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

/// Responds with every `traceparent` that the handler sees, one a line.
async fn traceparents(request: Request) -> String {
    let values = request.headers().get_all("traceparent").iter();
    values.map(|value| format!("{}\n", value.to_str().unwrap())).collect()
}
