//! Settings of the models folder, and the files of one model in it. A process has one value of the settings.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use platform::user_cache;
use settings::on_off;

use crate::document::Models;
use crate::error::ModelError;

/// The models folder, and which models may be used.
#[derive(Debug, Clone, Args)]
pub struct FolderArgs {
    /// Folder of the model files; sightline/models in the user's cache when not set
    #[arg(long, env = "SIGHTLINE_MODELS_DIR", value_name = "PATH")]
    pub models_dir: Option<PathBuf>,

    /// File with your own models and engines, in the form of models.yaml
    #[arg(long, env = "SIGHTLINE_MODELS_FILE", value_name = "PATH")]
    pub models_file: Option<PathBuf>,

    /// Allow models whose licence forbids commercial use
    #[arg(long, env = "SIGHTLINE_ALLOW_NONCOMMERCIAL", default_value = "off", action = ArgAction::Set,
        value_parser = on_off(), value_name = "ON_OFF")]
    pub allow_noncommercial: bool,
}

/// The files of a model, whose licence and hashes were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// Name of the model.
    pub name: String,
    /// Path of its file.
    pub path: PathBuf,
    /// SHA-256 of its file in lower-case hexadecimal.
    pub sha256: String,
    /// Paths of the files beside it, in the order of the entry.
    pub beside: Vec<PathBuf>,
}

impl FolderArgs {
    /// The folder of the model files.
    pub fn dir(&self) -> PathBuf {
        let default = || user_cache(|name| std::env::var_os(name)).unwrap_or_else(std::env::temp_dir);
        self.models_dir.clone().unwrap_or_else(|| default().join("sightline/models"))
    }

    /// The models of the operator's file and the built-in ones that no detector uses, or the built-in ones.
    ///
    /// # Errors
    /// The operator's file cannot be read or is invalid.
    pub fn models(&self) -> Result<Models, ModelError> {
        match &self.models_file {
            Some(file) => Models::from_file(file),
            None => Models::built_in(),
        }
    }

    /// The files of a model of this kind. Reads them whole for their hashes, so it blocks.
    ///
    /// # Errors
    /// There is no such model of this kind, its licence needs a setting, or a file is missing or has another hash.
    pub fn open(&self, name: &str, kind: &str) -> Result<ModelFiles, ModelError> {
        let (models, dir) = (self.models()?, self.dir());
        let unknown = || ModelError::UnknownModel {
            name: name.to_owned(),
            kind: kind.to_owned(),
            known: models.of_kind(kind).map(|model| &*model.name).collect::<Vec<_>>().join(", "),
        };
        let model = models.of_kind(kind).find(|model| model.name == name).ok_or_else(unknown)?;
        let weights = model.weights().ok_or_else(unknown)?;
        model.check_licence(self.allow_noncommercial)?;
        if !model.is_in(&dir) {
            return Err(ModelError::NotInFolder { name: name.to_owned(), model: model.described(), dir });
        }
        Ok(ModelFiles {
            name: name.to_owned(),
            path: weights.verified(&dir)?,
            sha256: weights.sha256.clone(),
            beside: weights.beside.iter().map(|weights| dir.join(&weights.file)).collect(),
        })
    }
}
