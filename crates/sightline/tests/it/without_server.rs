//! Commands without a running server.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::processes::free_port;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nno server reads the rest";

fn sightline(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    command
        .args(arguments)
        .args(["--server", &format!("http://127.0.0.1:{}", free_port()), "--token", "none"])
        .env_clear();
    command
}

#[test]
fn push_gives_up_and_says_what_to_start() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(folder.path().join(name), PNG).unwrap();
    }
    let path = folder.path().to_str().unwrap();
    for limit in ["--wait", "--patience"] {
        let started = Instant::now();
        let output = sightline(&["push", path, limit, "1"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains("sightline up"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "one line, and not one for each file: {stderr}");
        assert!(started.elapsed() < Duration::from_secs(30), "{limit}");
    }
}

#[test]
fn watch_reports_a_missing_server_once() {
    let mut watch = sightline(&["watch"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("sightline up") && first.ends_with("trying again"), "{first}");
    // Several tries fall into this time.
    std::thread::sleep(Duration::from_secs(3));
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(lines.map(Result::unwrap).collect::<Vec<_>>(), Vec::<String>::new());
}
