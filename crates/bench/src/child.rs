//! Child processes to measure: a service's program in the folder of this one, or this program with a hidden subcommand.
//!
//! Parent and child exchange lines: the child reads commands from its standard input and writes replies to its standard output.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::meter::Meter;

/// Time limit for a child's reply whose duration is not measured.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A process that is measured. It is killed when this is dropped.
pub struct ChildProcess {
    name: String,
    process: tokio::process::Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl ChildProcess {
    /// This program as a child: `sightline-bench child …`.
    pub fn bench(arguments: &[&str], settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        Self::start(&program, &[&["child"], arguments].concat(), settings)
    }

    /// `sightline up`.
    pub fn up(settings: &[(&str, String)]) -> anyhow::Result<Self> {
        // Its default port may be taken.
        let settings = [settings, &[("SIGHTLINE_GRPC_ADDR", "off".to_owned())]].concat();
        Self::start(&program("sightline")?, &["up"], &settings)
    }

    /// A service's program.
    pub fn service(name: &str, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        Self::start(&program(name)?, &[], settings)
    }

    /// A service's program with the default log, which includes the access log. The log goes to a temporary file.
    pub fn service_with_access_log(name: &str, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let log = tempfile::tempfile().context("a file for the log")?;
        let settings = [settings, &[("SIGHTLINE_LOG", "info".to_owned())]].concat();
        Self::spawn(&program(name)?, &[], &settings, Stdio::from(log))
    }

    /// A program with these settings, which logs warnings only, to this process's standard error.
    pub fn start(program: &Path, arguments: &[&str], settings: &[(&str, String)]) -> anyhow::Result<Self> {
        Self::spawn(program, arguments, settings, Stdio::inherit())
    }

    /// The child inherits the environment without Sightline's own variables, except the paths of the models and of ONNX
    /// Runtime.
    fn spawn(program: &Path, arguments: &[&str], settings: &[(&str, String)], log: Stdio) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        let kept = ["SIGHTLINE_ORT_DYLIB_PATH", "SIGHTLINE_MODELS_DIR"];
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SIGHTLINE_")) {
            if !kept.contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        let quiet = ("SIGHTLINE_LOG", "warn".to_owned());
        command.args(arguments).envs([quiet]).envs(settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let name = program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut process = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let input = process.stdin.take().context("the child's input")?;
        let lines = BufReader::new(process.stdout.take().context("the child's output")?).lines();
        Ok(Self { name, process, input, lines })
    }

    /// Its processor time and memory.
    pub fn meter(&self) -> anyhow::Result<Meter> {
        Ok(Meter::of(self.process.id().with_context(|| format!("{} has ended", self.name))?))
    }

    /// The next line that it prints, within [`TIMEOUT`].
    pub async fn read_line(&mut self) -> anyhow::Result<String> {
        let next = tokio::time::timeout(TIMEOUT, self.lines.next_line()).await;
        let next = next.with_context(|| format!("{} printed nothing for {TIMEOUT:?}", self.name))?;
        next?.with_context(|| format!("{} ended; its log says why", self.name))
    }

    /// The next line that it prints, without a time limit, because its duration is measured.
    pub async fn read_line_untimed(&mut self) -> anyhow::Result<String> {
        self.lines.next_line().await?.with_context(|| format!("{} ended; its log says why", self.name))
    }

    /// Reads a line and fails unless it is this one.
    pub async fn expect_line(&mut self, expected: &str) -> anyhow::Result<()> {
        let line = self.read_line().await?;
        anyhow::ensure!(line == expected, "{} printed {line:?} instead of {expected:?}", self.name);
        Ok(())
    }

    /// Writes a line to its standard input.
    pub async fn send_line(&mut self, line: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await.with_context(|| format!("{} has ended", self.name))
    }

    /// Waits until `/readyz` of the service at `url` succeeds.
    pub async fn wait_until_ready(&mut self, url: &str) -> anyhow::Result<()> {
        self.wait_for_success(&format!("{url}/readyz")).await
    }

    /// Waits until a GET of this address succeeds.
    pub async fn wait_for_success(&mut self, url: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        let mut last = String::new();
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}; its log says why", self.name);
            }
            match reqwest::get(url).await {
                Ok(response) if response.status().is_success() => return Ok(()),
                Ok(response) => last = response.text().await.unwrap_or_default(),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{} did not become ready: {last}", self.name)
    }

    /// Kills it and waits until it has ended.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill().await.with_context(|| format!("{} cannot be killed", self.name))
    }
}

/// The path of a program in the folder of this one: the build folder, or a folder of a container image.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("this program's own path")?.with_file_name(name);
    if !program.exists() {
        bail!("there is no {}: build it with `cargo build --release --workspace`", program.display());
    }
    Ok(program)
}

/// A free TCP port of this machine.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?.port())
}
