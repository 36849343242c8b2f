//! `push` and `watch` with the wrong scheme of the server.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser;
use platform::config::HttpArgs;
use platform::http::{Limits, Listener};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    http: HttpArgs,
}

/// A server on a free port, with TLS if the folder has certificates; returns its URL.
async fn start(certs: Option<&Path>) -> String {
    let mut arguments = vec!["server".to_owned(), "--http-addr=127.0.0.1:0".to_owned()];
    for (flag, file) in [("--tls-cert", "server.pem"), ("--tls-key", "server.key")] {
        arguments.extend(certs.map(|folder| format!("{flag}={}", folder.join(file).display())));
    }
    let listener: Listener = platform::http::listen(&Settings::parse_from(arguments).http).await.unwrap();
    let url = listener.url().unwrap();
    tokio::spawn(platform::http::serve(listener, axum::Router::new(), Limits::default(), CancellationToken::new()));
    url
}

/// Standard error of a command that fails, in the time that one attempt takes.
async fn refused(arguments: &[&str], server: &str) -> String {
    let started = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    let output = command.args(arguments).args(["--server", server, "--token", "none"]).env_clear().output();
    let output = tokio::time::timeout(Duration::from_secs(60), output).await.expect("it ends").unwrap();
    assert!(!output.status.success());
    assert!(started.elapsed() < Duration::from_secs(12), "it retried");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_scheme_is_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (certs, images) = (folder.path().join("certs"), folder.path().join("images"));
    let made = Command::new(env!("CARGO_BIN_EXE_sightline")).args(["certs", "dev", "--out"]).arg(&certs).output().await;
    assert!(made.unwrap().status.success());
    std::fs::create_dir(&images).unwrap();
    for name in ["a", "b", "c"] {
        // More than the buffers of a connection have.
        std::fs::write(images.join(name), [&b"\x89PNG\r\n\x1a\n"[..], &[0; 3 << 20]].concat()).unwrap();
    }
    let (plain, encrypted) = (start(None).await, start(Some(&certs)).await);
    for (right, wrong_scheme) in [(&plain, "https"), (&encrypted, "http")] {
        let (scheme, rest) = right.split_once(':').unwrap();
        let wrong = format!("{wrong_scheme}:{rest}");
        for arguments in [&["push", images.to_str().unwrap()][..], &["watch"]] {
            let stderr = refused(arguments, &wrong).await;
            let expected = format!("the server speaks {scheme}, not {wrong_scheme}: use {right}");
            assert!(stderr.contains(&expected), "{arguments:?}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

#[tokio::test]
async fn a_server_without_a_scheme_is_refused() {
    for server in ["127.0.0.1:8080", "localhost:8080"] {
        let stderr = refused(&["watch"], server).await;
        assert!(stderr.contains(&format!("write http://{server}")), "{stderr}");
    }
}
