//! `sightline up 2>&1 | head`: the reader of the output ends, and the services run on.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::processes::{TIMEOUT, command, free_port};

#[tokio::test]
async fn up_outlives_the_readers_of_its_output() {
    let data = tempfile::tempdir().unwrap();
    let (port, folder) = (free_port(), data.path().join("data"));
    let settings = [
        ("SIGHTLINE_DATA_DIR".to_owned(), folder.to_str().unwrap().to_owned()),
        ("SIGHTLINE_HTTP_ADDR".to_owned(), format!("127.0.0.1:{port}")),
        ("SIGHTLINE_ADMIN_ADDR".to_owned(), "off".to_owned()),
        ("SIGHTLINE_GRPC_ADDR".to_owned(), "off".to_owned()),
    ];
    let mut up = command(env!("CARGO_BIN_EXE_sightline"), &["up".to_owned()], &settings);
    let mut up = up.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((up.stdout.take(), up.stderr.take()));

    let url = format!("http://127.0.0.1:{port}");
    let begun = Instant::now();
    while !reqwest::get(format!("{url}/readyz")).await.is_ok_and(|response| response.status().is_success()) {
        assert_eq!(up.try_wait().unwrap(), None, "it ended");
        assert!(begun.elapsed() < TIMEOUT, "it did not become ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let token = std::fs::read_to_string(folder.join("admin.token")).unwrap();
    // The access log has a line for this request.
    let rules = reqwest::Client::new().get(format!("{url}/v1/rules")).bearer_auth(token.trim()).send().await;
    assert_eq!(rules.unwrap().status(), 200);

    let id = up.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = up.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > TIMEOUT {
            up.kill().unwrap();
            panic!("SIGTERM did not end it");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(ended.success(), "{ended}");
}
