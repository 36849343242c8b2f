//! What is measured, in a process of its own: a service's program beside this one, or a part of this program.
//!
//! Parent and child talk in lines: the child's standard output says what it has reached, its standard input what to do next.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

use super::meter::Meter;

/// How long a child may take for anything that is not itself measured.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that is measured. It is killed when this is dropped.
pub struct Child {
    name: String,
    process: tokio::process::Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// A part of this program: `sightline bench part …`.
    pub fn part(arguments: &[&str], settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        Self::start(&program, &[&["bench", "part"], arguments].concat(), settings)
    }

    /// This program with other arguments, as `sightline up`.
    pub fn own(arguments: &[&str], settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        Self::start(&program, arguments, settings)
    }

    /// A service's program, which lies beside this one in a build's folder and in an image.
    pub fn service(name: &str, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?.with_file_name(name);
        if !program.exists() {
            bail!("there is no {}: `cargo build --release --workspace` makes it", program.display());
        }
        Self::start(&program, &[], settings)
    }

    /// A program with these settings around it; of the environment it gets only what is no setting of ours, and where
    /// models and ONNX Runtime are. What it logs goes to this process's standard error.
    pub fn start(program: &Path, arguments: &[&str], settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        let kept = ["SIGHTLINE_ORT_DYLIB_PATH", "SIGHTLINE_MODELS_DIR"];
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SIGHTLINE_")) {
            if !kept.contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        let quiet = ("SIGHTLINE_LOG", "warn".to_owned());
        command.args(arguments).envs([quiet]).envs(settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let name = program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut process = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let input = process.stdin.take().context("the child's input")?;
        let lines = BufReader::new(process.stdout.take().context("the child's output")?).lines();
        Ok(Self { name, process, input, lines })
    }

    /// What it uses.
    pub fn meter(&self) -> anyhow::Result<Meter> {
        Ok(Meter::of(self.process.id().with_context(|| format!("{} has ended", self.name))?))
    }

    /// The next line that it prints.
    pub async fn line(&mut self) -> anyhow::Result<String> {
        let next = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let next = next.with_context(|| format!("{} said nothing for {PATIENCE:?}", self.name))?;
        next?.with_context(|| format!("{} ended; what it logged says why", self.name))
    }

    /// The next line that it prints, however long it takes: it is what is measured.
    pub async fn patient_line(&mut self) -> anyhow::Result<String> {
        self.lines.next_line().await?.with_context(|| format!("{} ended; what it logged says why", self.name))
    }

    /// Waits until it has printed this line.
    pub async fn says(&mut self, expected: &str) -> anyhow::Result<()> {
        let line = self.line().await?;
        anyhow::ensure!(line == expected, "{} said {line:?} and not {expected:?}", self.name);
        Ok(())
    }

    /// Gives it a line.
    pub async fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await.with_context(|| format!("{} has ended", self.name))
    }

    /// Waits until the service behind `url` says that it is ready.
    pub async fn ready(&mut self, url: &str) -> anyhow::Result<()> {
        self.answers(&format!("{url}/readyz")).await
    }

    /// Waits until this address answers well.
    pub async fn answers(&mut self, url: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}; what it logged says why", self.name);
            }
            match reqwest::get(url).await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => last = answer.text().await.unwrap_or_default(),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{} did not become ready: {last}", self.name)
    }

    /// Ends it at once and waits until it is gone.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill().await.with_context(|| format!("{} cannot be ended", self.name))
    }
}

/// A port of this machine that nobody listens on at the moment.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0").context("no free port")?.local_addr()?.port())
}
