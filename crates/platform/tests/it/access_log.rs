//! The access log: its lines, and what it must not contain.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use platform::http::{Limits, listen};
use tracing_subscriber::fmt::MakeWriter;

use crate::certificates::Authority;
use crate::test_server::{TIMEOUT, TestServer, encrypted, plain};

/// A log in memory.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures the log of this thread; the whole test runs on it.
    pub fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Waits for the line that contains `part`.
    pub async fn line(&self, part: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(line) = self.text().lines().find(|line| line.contains(part)) {
                return line.to_owned();
            }
            assert!(started.elapsed() < TIMEOUT, "no line with {part}: {}", self.text());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn each_request_is_a_line_without_its_secrets() {
    let (log, _guard) = Log::begin();
    let server = TestServer::start(&plain(), Limits::default()).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |path: &str, id: &str| {
        let request =
            client.get(server.url("http", path)).bearer_auth("secret-token").header("cookie", "session=secret-cookie");
        request.header("x-request-id", id).send()
    };
    assert_eq!(get("/things/secret-thing?token=secret-query", "id-1").await.unwrap().text().await.unwrap(), "a thing");
    let line = log.line("request.id=\"id-1\"").await;
    for part in [
        "method=\"GET\"",
        "route=\"/things/{id}\"",
        "status=200",
        "bytes=7",
        "took=",
        "tenant=\"tenant-7\"",
        "client=127.0.0.1:",
    ] {
        assert!(line.contains(part), "no {part}: {line}");
    }
    assert!(!line.contains("cut="), "{line}");

    assert_eq!(get("/secret-path/secret-code", "id-2").await.unwrap().status(), 404);
    assert!(log.line("request.id=\"id-2\"").await.contains("route=\"none\""));
    assert_eq!(get("/healthz", "id-3").await.unwrap().status(), 200);
    assert_eq!(get("/refused", "id-4").await.unwrap().status(), 409);
    log.line("request.id=\"id-4\"").await;
    let text = log.text();
    assert!(!text.contains("secret"), "{text}");
    assert!(!text.contains("id-3"), "a successful probe has no line: {text}");
}

#[tokio::test]
async fn an_expired_certificate_causes_a_warning_and_no_failure() {
    let (log, _guard) = Log::begin();
    let folder = tempfile::tempdir().unwrap();
    let settings = encrypted(folder.path(), &Authority::new().expired_server());
    listen(&settings).await.unwrap();
    let text = log.text();
    assert!(text.contains("WARN") && text.contains("SIGHTLINE_TLS_CERT") && text.contains("expired"), "{text}");
}
