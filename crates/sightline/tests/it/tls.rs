//! TLS from the operator's and the client's side, with certificates from `sightline certs dev`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::processes::{Process, TIMEOUT, free_port, path_from_env};

/// Runs the command with an empty environment; returns success, standard output and standard error.
fn run(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sightline")).args(arguments).env_clear().output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

async fn wait_until_ready(up: &mut Process, client: &reqwest::Client, url: &str) {
    let started = Instant::now();
    loop {
        up.assert_running();
        match client.get(format!("{url}/readyz")).send().await {
            Ok(response) if response.status().is_success() => return,
            outcome => assert!(started.elapsed() < TIMEOUT, "{outcome:?}\n{}", up.output()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn client(certs: &Path) -> reqwest::Client {
    let read = |name: &str| std::fs::read(certs.join(name)).unwrap();
    let identity = [read("client.pem"), read("client.key")].concat();
    reqwest::Client::builder()
        .no_proxy()
        .add_root_certificate(reqwest::Certificate::from_pem(&read("ca.pem")).unwrap())
        .identity(reqwest::Identity::from_pem(&identity).unwrap())
        .build()
        .unwrap()
}

#[tokio::test]
async fn tls_admits_only_clients_with_a_certificate() {
    let test = "tls_admits_only_clients_with_a_certificate";
    let Some(photo) = path_from_env(test, "SIGHTLINE_TEST_PHOTO") else { return };
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("certs");
    let (success, printed, stderr) = run(&["certs", "dev", "--out", certs.to_str().unwrap()]);
    assert!(success && printed.contains("--tls-cert"), "{printed}{stderr}");
    let file = |name: &str| certs.join(name).to_str().unwrap().to_owned();
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let data = folder.path().join("data").to_str().unwrap().to_owned();
    let address = format!("127.0.0.1:{}", free_port());
    let settings = [
        ("SIGHTLINE_DATA_DIR", data.clone()),
        ("SIGHTLINE_HTTP_ADDR", address.clone()),
        ("SIGHTLINE_ADMIN_ADDR", "off".to_owned()),
        ("SIGHTLINE_GRPC_ADDR", "off".to_owned()),
        ("SIGHTLINE_TLS_CERT", file("server.pem")),
        ("SIGHTLINE_TLS_KEY", file("server.key")),
        ("SIGHTLINE_TLS_CLIENT_CA", ca.clone()),
    ];
    let program = env!("CARGO_BIN_EXE_sightline");
    let mut up = Process::start(program, &["up"], &settings, &folder.path().join("up.log"));
    let url = format!("https://{address}");
    wait_until_ready(&mut up, &client(&certs), &url).await;

    let place = ["--server", url.as_str(), "--data-dir", data.as_str()];
    let (trust, identity) = (["--cacert", ca.as_str()], ["--cert", cert.as_str(), "--key", key.as_str()]);
    let push = |more: &[&str]| run(&[&["push", photo.to_str().unwrap()][..], &place, more].concat());
    let started = Instant::now();
    let (success, _, stderr) = push(&[]);
    assert!(!success && stderr.contains("--cacert"), "{stderr}");
    assert!(started.elapsed() < Duration::from_secs(60), "the command retried although a retry cannot succeed");
    let (success, _, stderr) = push(&[&["--wait", "1"][..], &trust].concat());
    assert!(!success, "accepted without a client certificate: {stderr}");

    let all = [&trust[..], &identity[..]].concat();
    let watching = Command::new(program)
        .args([&["watch", "--count", "1"][..], &place, &all].concat())
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Pushes until an alert arrives, because the subscriber may not be connected yet.
    let watching = tokio::task::spawn_blocking(move || watching.wait_with_output().unwrap());
    let started = Instant::now();
    while !watching.is_finished() {
        assert!(started.elapsed() < TIMEOUT, "no alert: {}", up.output());
        let (success, printed, stderr) = push(&all);
        assert!(success && printed.contains("face"), "{printed}{stderr}");
    }
    let alert = String::from_utf8(watching.await.unwrap().stdout).unwrap();
    assert!(alert.contains("\"label\":\"face\""), "{alert}");
    assert!(
        up.output().contains("route=\"/v1/frames\"") || up.output().contains("route=/v1/frames"),
        "{}",
        up.output()
    );
    let token = std::fs::read_to_string(folder.path().join("data/admin.token")).unwrap();
    assert!(!up.output().contains(token.trim()), "the token is in the log");
}
