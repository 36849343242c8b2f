//! `push` with servers that respond incorrectly.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::processes::TIMEOUT;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nno server reads the rest";

/// A server that answers its first requests with these bytes and never answers the others.
struct FakeServer {
    url: String,
    /// The requests so far, with lower-case heads.
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeServer {
    fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, mut answers) =
            (Arc::clone(&requests), answers.iter().map(ToString::to_string).collect::<Vec<_>>().into_iter());
        std::thread::spawn(move || {
            let mut unanswered = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                seen.lock().unwrap().push(read_request(&mut stream));
                match answers.next() {
                    Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                    None => unanswered.push(stream),
                }
            }
        });
        Self { url, requests }
    }

    fn push(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
        command.arg("push").args(arguments).args(["--server", &self.url, "--token", "none"]).env_clear();
        command
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// The head of a request whose body is an image of these tests.
fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(PNG) {
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).unwrap();
        assert!(length > 0, "the request ends early");
        request.extend_from_slice(&bytes[..length]);
    }
    String::from_utf8_lossy(&request[..request.len() - PNG.len()]).to_lowercase()
}

fn images(count: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..count {
        std::fs::write(folder.path().join(number.to_string()), PNG).unwrap();
    }
    folder
}

#[test]
fn a_response_that_breaks_off_is_requested_again() {
    let body = r#"{"frame_id":"0198c2a0-0000-7000-8000-000000000001","detectors":[],"results_url":"/v1/frames/1"}"#;
    let answer = |length: usize, body: &str| format!("HTTP/1.1 202 Accepted\r\ncontent-length: {length}\r\n\r\n{body}");
    let server = FakeServer::start(&[&answer(body.len(), &body[..20]), &answer(body.len(), body)]);
    let folder = images(1);
    let output = server.push(&[folder.path().to_str().unwrap(), "--no-wait"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let requests = server.requests();
    let key = |request: &String| request.lines().find(|line| line.starts_with("idempotency-key")).unwrap().to_owned();
    let keys: Vec<String> = requests.iter().map(key).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{requests:?}");
}

#[test]
fn a_request_without_an_answer_ends_with_the_time_limit() {
    let server = FakeServer::start(&[]);
    let (folder, begun) = (images(1), Instant::now());
    let output = server.push(&[folder.path().to_str().unwrap(), "--wait", "2"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("did not answer in time"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{said}");
}

#[test]
fn an_interrupted_push_counts_files_without_an_answer() {
    let server = FakeServer::start(&[]);
    let folder = images(10);
    let push = server.push(&[folder.path().to_str().unwrap()]).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while server.requests().len() < 8 {
        assert!(begun.elapsed() < TIMEOUT, "{:?}", server.requests());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &push.id().to_string()]).status().unwrap().success());
    let output = push.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("0 of 10 files done, 8 without an answer") && said.contains("2 not sent"), "{said}");
}

#[test]
fn a_used_up_quota_ends_the_push_with_one_line() {
    let problem = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 160000\r\ncontent-length: 13\r\n\r\nquota used up";
    let refusal = "not retried: 429 Too Many Requests: quota used up; the server asks to wait 45 h";
    for (files, expected) in
        [(1, refusal.to_owned()), (10, format!("8 of 10 files done (8 failed), 2 not sent: {refusal}"))]
    {
        let (server, folder) = (FakeServer::start(&[problem; 10]), images(files));
        let output = server.push(&[folder.path().to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(&expected), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert_eq!(server.requests().len(), files.min(8));
    }
}

#[test]
fn a_usage_names_no_option_of_the_environment() {
    let server = FakeServer::start(&[]);
    let output = server.push(&[]).env("SIGHTLINE_DATA_DIR", "/nowhere").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Usage: sightline push [OPTIONS] <FILE|FOLDER|URL>...\n"), "{said}");
}

#[test]
fn extreme_numbers_are_refused_or_work() {
    let body = r#"{"frame_id":"0198c2a0-0000-7000-8000-000000000001","detectors":[],"results_url":"/v1/frames/1"}"#;
    let answer = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let server = FakeServer::start(&[&answer]);
    let folder = images(1);
    let path = folder.path().to_str().unwrap();
    for fps in ["1e-20", "0", "-1", "NaN", "inf", "1001"] {
        let output = server.push(&[path, &format!("--fps={fps}")]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && said.contains("it must be a number from 0.00001 to 1000"),
            "{fps}: {said}"
        );
    }
    let output =
        server.push(&[path, "--no-wait", "--fps", "0.00001", "--wait", "18446744073709551615"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
