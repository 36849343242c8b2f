//! `sightline healthcheck`: the exit status and the line of a container's health check.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::processes::{TestServer, free_port};

/// Runs the command for a probe port; returns success, standard output and standard error.
fn healthcheck(port: u16, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    // As in the image: the service listens on all addresses. A proxy must not get the request.
    command.arg("healthcheck").args(arguments).env_clear().env("SIGHTLINE_PROBE_ADDR", format!("0.0.0.0:{port}"));
    let output = command.env("http_proxy", "http://127.0.0.1:1").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_healthy_while_it_is_ready() {
    let port = free_port();
    let (success, _, error) = healthcheck(port, &[]);
    assert!(!success && error.contains(&format!("127.0.0.1:{port}/readyz cannot be reached")), "{error}");
    let mut up = TestServer::start(&[("SIGHTLINE_PROBE_ADDR", format!("0.0.0.0:{port}"))]).await;
    let (success, output, error) = healthcheck(port, &[]);
    // With notes, such as the model that compares faces.
    assert!(success && output.starts_with("ok") && error.is_empty(), "{output}{error}");
    assert_eq!(healthcheck(port, &["--live"]), (true, "ok\n".to_owned(), String::new()));

    up.process.signal("-STOP");
    let started = Instant::now();
    let (success, _, error) = healthcheck(port, &["--timeout", "1s"]);
    assert!(!success && error.contains("did not answer within 1s"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    up.process.signal("-CONT");
    assert!(up.process.stop(), "{}", up.process.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_not_ready_names_the_dependency() {
    let port = free_port();
    let up = TestServer::start(&[("SIGHTLINE_PROBE_ADDR", format!("127.0.0.1:{port}"))]).await;
    // A folder that is a file cannot store images, not even as root.
    let blobs = up.data.path().join("data/blobs");
    std::fs::remove_dir_all(&blobs).unwrap();
    std::fs::write(&blobs, "").unwrap();
    let (success, printed, error) = healthcheck(port, &[]);
    assert!(!success && printed.is_empty(), "{printed}");
    assert!(error.starts_with("error: not ready; blobs: ") && error.lines().count() == 1, "{error}");
}
