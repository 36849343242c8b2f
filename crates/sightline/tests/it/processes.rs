//! Starts the programs like an operator, kills them like a power failure, and prints their output when a test fails.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Time limit for anything, on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(120);

/// The path of a program of this workspace; cargo builds them into one folder.
pub fn program(name: &str) -> String {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_sightline"));
    own.with_file_name(name).to_str().unwrap().to_owned()
}

/// A free port, below the range of outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed) % 2000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A program that runs or has ended.
pub struct Process {
    program: String,
    arguments: Vec<String>,
    settings: Vec<(String, String)>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a program with only these settings in its environment; its output goes to `log`.
    pub fn start(program: &str, arguments: &[&str], settings: &[(&str, String)], log: &Path) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let settings: Vec<_> = settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let child = spawn(program, &arguments, &settings, log);
        Self { program: program.to_owned(), arguments, settings, log: log.to_owned(), child }
    }

    /// kill -9, and a restart with the same settings.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Restarts an ended program with the same settings.
    pub fn restart(&mut self) {
        self.child = spawn(&self.program, &self.arguments, &self.settings, &self.log);
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for its end; returns whether it succeeded.
    pub fn stop(&mut self) -> bool {
        self.signal("-TERM");
        self.wait_success()
    }

    /// Sends it a signal, such as `-STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The id of the running process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end; returns whether it succeeded.
    pub fn wait_success(&mut self) -> bool {
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} did not stop\n{}", self.program, self.output());
    }

    /// All output so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Fails the test if the program has ended.
    pub fn assert_running(&mut self) {
        assert!(!self.has_ended(), "{} ended\n{}", self.program, self.output());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(60).collect();
            eprintln!("--- last output of {}:", self.program);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn spawn(program: &str, arguments: &[String], settings: &[(String, String)], log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    let mut command = command(program, arguments, settings);
    command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// A program with only these settings in its environment, and where the test's own say the library and the models are.
pub fn command(program: &str, arguments: &[String], settings: &[(String, String)]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null());
    for name in ["PATH", "HOME", "SIGHTLINE_ORT_DYLIB_PATH", "SIGHTLINE_MODELS_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.envs(settings.iter().cloned());
    command
}

/// A running `sightline up` on embedded parts.
pub struct TestServer {
    pub process: Process,
    pub url: String,
    pub token: String,
    pub data: tempfile::TempDir,
    pub admin: String,
    /// Address of the port for gRPC.
    pub grpc: String,
}

impl TestServer {
    /// Starts it on a new data folder and waits until it is ready.
    pub async fn start(settings: &[(&str, String)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings).await
    }

    /// Starts it with its data folder and its output in this folder.
    pub async fn start_in(data: tempfile::TempDir, settings: &[(&str, String)]) -> Self {
        let (port, admin, grpc) = (free_port(), free_port(), free_port());
        let mut all = vec![
            ("SIGHTLINE_DATA_DIR", data.path().join("data").to_str().unwrap().to_owned()),
            ("SIGHTLINE_HTTP_ADDR", format!("127.0.0.1:{port}")),
            ("SIGHTLINE_ADMIN_ADDR", format!("127.0.0.1:{admin}")),
            ("SIGHTLINE_GRPC_ADDR", format!("127.0.0.1:{grpc}")),
        ];
        all.extend(settings.iter().cloned());
        let program = env!("CARGO_BIN_EXE_sightline");
        let mut process = Process::start(program, &["up"], &all, &data.path().join("up.log"));
        let url = format!("http://127.0.0.1:{port}");
        wait_until_ready(&mut process, &url).await;
        let token = std::fs::read_to_string(data.path().join("data/admin.token")).unwrap().trim().to_owned();
        Self { process, url, token, data, admin: format!("127.0.0.1:{admin}"), grpc: format!("127.0.0.1:{grpc}") }
    }

    /// Runs another command against it; returns its standard output.
    pub fn command(&self, arguments: &[&str]) -> String {
        let (success, printed, stderr) = self.outcome(arguments);
        assert!(success, "{arguments:?}: {stderr}\n{}", self.process.output());
        printed
    }

    /// A command that is prepared to run against it.
    pub fn command_of(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
        command
            .args(arguments)
            .env_clear()
            .env("SIGHTLINE_DATA_DIR", self.data.path().join("data"))
            .env("SIGHTLINE_SERVER", &self.url)
            .env("SIGHTLINE_ADMIN_ADDR", &self.admin);
        command
    }

    /// Runs another command against it; returns success, standard output and standard error.
    pub fn outcome(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = self.command_of(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }
}

/// Waits until `/readyz` of a service succeeds.
pub async fn wait_until_ready(process: &mut Process, url: &str) {
    let deadline = Instant::now() + TIMEOUT;
    let mut last = String::new();
    while Instant::now() < deadline {
        process.assert_running();
        match reqwest::get(format!("{url}/readyz")).await {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => last = response.text().await.unwrap_or_default(),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{url} did not become ready: {last}\n{}", process.output());
}

/// The path in an environment variable; without it, prints that the test is skipped.
pub fn path_from_env(test: &str, variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        println!("skipped: {test}: {variable} is not set");
    }
    path
}
