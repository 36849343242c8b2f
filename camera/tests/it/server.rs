//! A server that remembers the frames it gets, and a run of the camera program against it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde_json::{Value, json};

/// A frame as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub stream: String,
    pub captured_at: String,
    pub key: String,
    pub jpeg: Bytes,
}

/// A status and the seconds of `Retry-After`.
type Refusal = (u16, Option<u64>);

#[derive(Clone, Default)]
struct Shared {
    frames: Arc<Mutex<Vec<Received>>>,
    /// Answers for the first requests, instead of 202.
    refusals: Arc<Mutex<Vec<Refusal>>>,
    /// Reported states with their streams.
    states: Arc<Mutex<Vec<(String, Value)>>>,
    /// How many reports of a state are refused with 429 before one is accepted.
    refused_states: Arc<Mutex<u32>>,
}

/// A running server.
pub struct Server {
    shared: Shared,
    url: String,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    /// A server that accepts every frame.
    pub fn start() -> Self {
        Self::refusing(&[])
    }

    /// A server that first refuses with these statuses and `Retry-After`.
    pub fn refusing(refusals: &[Refusal]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shared = Shared::default();
        *shared.refusals.lock().unwrap() = refusals.iter().rev().copied().collect();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/frames", post(receive)).route("/healthz", get(|| async {}));
        let routes = routes.route("/v1/streams/{name}/state", put(keep_state));
        let routes = routes.with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { shared, url, runtime }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The frames so far.
    pub fn frames(&self) -> Vec<Received> {
        self.shared.frames.lock().unwrap().clone()
    }

    /// The reported states so far, with their streams.
    pub fn states(&self) -> Vec<(String, Value)> {
        self.shared.states.lock().unwrap().clone()
    }

    /// The next reports of a state are refused, because the server is busy.
    pub fn refuse_states(&self, count: u32) {
        *self.shared.refused_states.lock().unwrap() = count;
    }

    /// Pushes one source, with these settings beside its address.
    pub fn push(&self, path: &Path, settings: &Value) -> Pushed {
        let mut source = json!({"stream": "gate", "url": path});
        source.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let server = json!({"url": self.url, "token": "token-of-the-test"});
        Pushed::by(&json!({"server": server, "sources": [source], "json": true}))
    }

    /// Stops accepting.
    pub fn stop(self) {
        self.runtime.shutdown_background();
    }
}

/// What a push did.
pub struct Pushed {
    pub succeeded: bool,
    /// Its lines on standard error.
    pub errors: String,
    /// Its counts.
    pub counts: Value,
}

impl Pushed {
    /// A push with this task.
    pub fn by(task: &Value) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_camera"))
            .arg("push")
            .env("SIGHTLINE_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{task}").unwrap();
        let output = child.wait_with_output().unwrap();
        drop(input);
        Self::of(output)
    }

    fn of(output: Output) -> Self {
        let (counts, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let counts = serde_json::from_str(&counts).unwrap_or_else(|error| panic!("{error}: {counts:?} {errors}"));
        Self { succeeded: output.status.success(), errors, counts }
    }
}

async fn keep_state(
    State(shared): State<Shared>,
    axum::extract::Path(stream): axum::extract::Path<String>,
    axum::Json(state): axum::Json<Value>,
) -> Response {
    let refused = std::mem::take(&mut *shared.refused_states.lock().unwrap());
    if refused > 0 {
        *shared.refused_states.lock().unwrap() = refused - 1;
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response();
    }
    shared.states.lock().unwrap().push((stream, state));
    StatusCode::NO_CONTENT.into_response()
}

async fn receive(
    State(shared): State<Shared>,
    Query(query): Query<std::collections::HashMap<String, String>>,
    headers: HeaderMap,
    jpeg: Bytes,
) -> Response {
    if let Some((status, pause)) = shared.refusals.lock().unwrap().pop() {
        let status = StatusCode::from_u16(status).unwrap();
        return match pause {
            Some(pause) => (status, [("retry-after", pause.to_string())]).into_response(),
            None => status.into_response(),
        };
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let (stream, captured_at) = (query["stream"].clone(), query["captured_at"].clone());
    shared.frames.lock().unwrap().push(Received { stream, captured_at, key, jpeg });
    (StatusCode::ACCEPTED, r#"{"frame_id": "of the test"}"#).into_response()
}
