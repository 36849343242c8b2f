//! A server that answers as a test says, and keeps books of its own.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it charges for a minute of audio, in millionths.
pub const PER_MINUTE: u64 = 700;
/// A sentence that passes the gate.
pub const SENTENCE: &str = "Ask not what your country can do for you, ask what you can do for your country.";
const HEAD_END: &[u8] = b"\r\n\r\n";

/// What it does with a request.
#[derive(Clone)]
pub enum Reply {
    /// A whole answer.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// The beginning of one; then it closes the connection.
    Half(String),
    /// Nothing, until the client goes away.
    Hang,
}

impl Reply {
    pub fn status(status: u16) -> Self {
        Self::body(status, "")
    }

    pub fn body(status: u16, body: impl Display) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.to_string() }
    }

    pub fn json(body: &Value) -> Self {
        Self::body(200, body)
    }

    /// The words of a window, in the least form.
    pub fn text(text: &str) -> Self {
        Self::json(&json!({ "text": text }))
    }

    /// The answer of a language model.
    pub fn said(content: impl Display) -> Self {
        let message = json!({"role": "assistant", "content": content.to_string()});
        Self::json(
            &json!({"choices": [{"message": message}], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}),
        )
    }

    pub fn with(mut self, name: &'static str, value: impl Display) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_string()));
        }
        self
    }
}

/// A request that it got.
#[derive(Clone)]
pub struct Seen {
    pub path: String,
    pub authorization: Option<String>,
    pub body: Vec<u8>,
}

impl Seen {
    /// The field of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        let body = String::from_utf8_lossy(&self.body);
        let (_, after) = body.split_once(&format!("name=\"{name}\"\r\n\r\n"))?;
        after.split("\r\n").next().map(str::to_owned)
    }

    /// The body of a question.
    pub fn question(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The texts of a question.
    pub fn texts(&self) -> String {
        let question = self.question();
        let messages = question["messages"].as_array().unwrap().iter();
        messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// The length of the audio by the head of its file.
    pub fn audio_ms(&self) -> Option<u64> {
        let at = self.body.windows(4).position(|bytes| bytes == b"RIFF")? + 40;
        let bytes = u32::from_le_bytes(self.body.get(at..at + 4)?.try_into().ok()?);
        Some(u64::from(bytes).div_ceil(32))
    }
}

type Script = Box<dyn Fn(usize, &Seen) -> Reply + Send + Sync>;

struct State {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
    charged: Mutex<u64>,
    hung_up: AtomicUsize,
}

/// The server. It ends with this.
pub struct FakeServer {
    pub address: SocketAddr,
    state: Arc<State>,
    running: JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl FakeServer {
    /// It answers the request with this number, counted from 0, with what `script` says.
    pub async fn start(script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Mutex::new(Box::new(script)),
            seen: Mutex::default(),
            charged: Mutex::default(),
            hung_up: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let running = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&shared)));
            }
        });
        Self { address, state, running }
    }

    /// It always answers like this.
    pub async fn always(reply: Reply) -> Self {
        Self::start(move |_, _| reply.clone()).await
    }

    /// From now on it answers like this.
    pub fn answers(&self, reply: Reply) {
        self.plays(move |_, _| reply.clone());
    }

    /// From now on it answers what this says.
    pub fn plays(&self, script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Box::new(script);
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub fn requests(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// What it has charged, in millionths.
    pub fn charged(&self) -> u64 {
        *self.state.charged.lock().unwrap()
    }

    /// How often a client went away while it was waiting.
    pub fn hung_up(&self) -> usize {
        self.state.hung_up.load(Ordering::SeqCst)
    }
}

async fn serve(mut connection: TcpStream, state: Arc<State>) {
    let Some(seen) = read(&mut connection).await else { return };
    let reply = {
        let mut all = state.seen.lock().unwrap();
        let number = all.len();
        all.push(seen.clone());
        let reply = (state.script.lock().unwrap())(number, &seen);
        if let (Reply::Answer { status: 200..=299, .. }, Some(ms)) = (&reply, seen.audio_ms()) {
            *state.charged.lock().unwrap() += (ms * PER_MINUTE).div_ceil(60_000);
        }
        reply
    };
    match reply {
        Reply::Answer { status, headers, body } => {
            let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}");
            // The client may have gone.
            let _ = connection.write_all(answer.as_bytes()).await;
        }
        Reply::Half(body) => {
            let length = body.len() * 2 + 10;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
            let _ = connection.write_all(answer.as_bytes()).await;
        }
        Reply::Hang => {
            let mut rest = [0; 64];
            while matches!(connection.read(&mut rest).await, Ok(1..)) {}
            state.hung_up.fetch_add(1, Ordering::SeqCst);
        }
    }
    let _ = connection.shutdown().await;
}

async fn read(connection: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(HEAD_END.len()).position(|end| end == HEAD_END) {
            break at;
        }
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let header = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = header("content-length")?.parse().ok()?;
    let mut body = bytes.split_off(head + HEAD_END.len());
    while body.len() < length {
        if connection.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    let path = text.split_whitespace().nth(1)?.to_owned();
    Some(Seen { path, authorization: header("authorization"), body })
}

/// An address at which nobody listens.
pub async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Waits until a server has seen the end of a call.
pub async fn until_hung_up(server: &FakeServer, times: usize) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while server.hung_up() < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "the client never went away");
}
