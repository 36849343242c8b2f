//! A provider that answers as a test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;

#[derive(Clone)]
enum Script {
    RefusesTheKey,
    Hangs,
    Answers(String),
}

struct Shared {
    script: Script,
    requests: usize,
}

/// A server with the interface of `OpenAI` for audio.
pub struct Scripted {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl Scripted {
    pub async fn start() -> Self {
        let shared = Arc::new(Mutex::new(Shared { script: Script::Hangs, requests: 0 }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// A file with this provider, in the group `local`.
    pub fn providers(&self) -> String {
        format!(
            "transcribe:\n  - {{name: scripted, group: local, kind: openai, base_url: \"http://{}/v1\", model: m}}\n\
             describe:\n  - {{name: extract, group: local, kind: extract}}\n",
            self.address
        )
    }

    pub fn refuses_the_key(&self) {
        self.plays(Script::RefusesTheKey);
    }

    pub fn hangs(&self) {
        self.plays(Script::Hangs);
    }

    pub fn answers(&self, text: &str) {
        self.plays(Script::Answers(text.to_owned()));
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.shared.lock().unwrap().requests
    }

    fn plays(&self, script: Script) {
        self.shared.lock().unwrap().script = script;
    }
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response {
    // A connection that is closed before its body is read looks like a failure.
    let body = axum::body::to_bytes(request.into_body(), 64 << 20).await;
    let script = {
        let mut shared = shared.lock().unwrap();
        shared.requests += 1;
        shared.script.clone()
    };
    match script {
        Script::RefusesTheKey => StatusCode::UNAUTHORIZED.into_response(),
        Script::Answers(text) if body.is_ok() => axum::Json(json!({ "text": text })).into_response(),
        Script::Answers(_) => StatusCode::BAD_REQUEST.into_response(),
        Script::Hangs => std::future::pending().await,
    }
}
