//! `camera healthcheck`: the exit status and the line of a container's health check.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::Server;

const CAMERA: &str = env!("CARGO_BIN_EXE_camera");

/// The program with one camera that does not answer. It ends with the test.
struct Running {
    program: Child,
    _list: tempfile::NamedTempFile,
}

impl Running {
    fn start(server: &str, port: u16) -> Self {
        let list = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(list.path(), "cameras:\n  - {stream: gate, url: \"rtsp://127.0.0.1:1/live\"}\n").unwrap();
        let mut command = Command::new(CAMERA);
        command.args(["--server", server, "--admin-addr", "off"]).env("SIGHTLINE_CAMERAS", list.path());
        command.env("SIGHTLINE_TOKEN", "token-of-the-test").env("SIGHTLINE_PROBE_ADDR", format!("0.0.0.0:{port}"));
        let running = Self { program: command.stderr(Stdio::null()).spawn().unwrap(), _list: list };
        wait_for(|| healthcheck(port, &["--live"]).0);
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

pub fn wait_for(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "not within 30 s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs the command as the image does; returns success, standard output and standard error.
fn healthcheck(port: u16, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(CAMERA);
    command.arg("healthcheck").args(arguments).env_clear().env("SIGHTLINE_PROBE_ADDR", format!("0.0.0.0:{port}"));
    // What the other command needs: the list does not exist here, and there is no token.
    let output = command.env("SIGHTLINE_CAMERAS", "/nowhere/cameras.yaml").output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_is_ready_while_the_server_answers() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (success, printed, error) = healthcheck(port, &[]);
    assert!(!success && printed.is_empty(), "{printed}");
    assert!(error.contains(&format!("127.0.0.1:{port}/readyz cannot be reached")), "{error}");

    let server = Server::start();
    let _running = Running::start(server.url(), port);
    assert_eq!(healthcheck(port, &[]), (true, "ok\n".to_owned(), String::new()));

    server.stop();
    wait_for(|| !healthcheck(port, &[]).0);
    let (_, printed, error) = healthcheck(port, &[]);
    assert!(printed.is_empty() && error.starts_with("error: not ready; server: "), "{printed} {error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(healthcheck(port, &["--live"]).0, "a server that is away is no reason to start the program again");
}
