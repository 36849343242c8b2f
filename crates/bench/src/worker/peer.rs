//! The worker as a plain Python loop, `crates/vision/tests/reference/loop.py`, in its virtual environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::measured::Cost;

/// The loop and its input.
pub struct Peer {
    python: PathBuf,
    program: PathBuf,
    models: PathBuf,
    model: String,
    images: Vec<PathBuf>,
}

/// The line that it prints.
#[derive(Deserialize)]
struct Line {
    frames: usize,
    seconds: f64,
    cpu_seconds: f64,
}

impl Peer {
    /// Finds it in `folder`; the error says what is missing.
    pub fn find(folder: &Path, models: &Path, model: &str, images: Vec<PathBuf>) -> anyhow::Result<Self> {
        let read = |file: &str| {
            std::fs::read(folder.join(file)).with_context(|| format!("{} does not exist", folder.join(file).display()))
        };
        read("loop.py")?;
        let hash: String =
            Sha256::digest(read("requirements.txt")?).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
        let cache = cache.or_else(home).context("HOME is not set")?.join("sightline");
        let environment = cache.join(format!("reference-{hash}"));
        ensure!(
            environment.join("ready").exists(),
            "{} does not exist; create it with {}",
            environment.display(),
            folder.join("run").display()
        );
        if !["yunet_n", "centerface"].contains(&model) {
            bail!("the Python loop does not support the model {model}");
        }
        let (python, program) = (environment.join("bin/python"), folder.join("loop.py"));
        Ok(Self { python, program, models: models.to_owned(), model: model.to_owned(), images })
    }

    /// Processes this many frames in each of several parallel loops, after a warm-up pass over the images.
    pub async fn go(&self, frames: usize, loops: usize) -> anyhow::Result<Cost> {
        let cost = try_join_all((0..loops).map(|_| self.one(frames))).await?;
        Ok(Cost {
            frames: cost.iter().map(|cost| cost.frames).sum(),
            cpu: cost.iter().map(|cost| cost.cpu).sum(),
            wall: cost.iter().map(|cost| cost.wall).max().unwrap_or_default(),
        })
    }

    async fn one(&self, frames: usize) -> anyhow::Result<Cost> {
        let mut command = Command::new(&self.python);
        command.arg(&self.program).arg(&self.models).arg(&self.model).arg(frames.to_string()).args(&self.images);
        let output = command.kill_on_drop(true).output().await.context("the Python loop cannot be started")?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "the Python loop failed: {}", String::from_utf8_lossy(&output.stderr));
        let line: Line =
            serde_json::from_str(stdout.trim()).with_context(|| format!("the Python loop printed {stdout:?}"))?;
        let seconds = Duration::from_secs_f64;
        Ok(Cost { frames: line.frames, cpu: seconds(line.cpu_seconds), wall: seconds(line.seconds) })
    }
}
