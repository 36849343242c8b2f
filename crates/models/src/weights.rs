//! The files of a model: names, hashes, sources, and what is changed in a fetched file.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

use crate::convert::Convert;
use crate::error::ModelError;
use crate::hash::sha256_of_file;
use crate::rewrite::Rewrite;
use crate::source::{Source, is_plain};

/// A model file and its sources.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// File name in the models folder.
    pub file: String,
    /// SHA-256 of the file in lower-case hexadecimal.
    pub sha256: String,
    /// Where the file comes from, in the order of the attempts.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Changes to the fetched file.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
    /// The other format into which the fetched file is converted.
    #[serde(default)]
    pub convert: Option<Convert>,
    /// Further files that the model needs, such as its vocabulary.
    #[serde(default)]
    pub beside: Vec<Weights>,
}

/// Names of the fields of [`Weights`].
const FIELDS: [&str; 6] = ["file", "sha256", "sources", "rewrite", "convert", "beside"];

impl Weights {
    /// Splits the fields of an engine into those of its weights and the others.
    pub fn split(fields: Mapping) -> (Mapping, Mapping) {
        let is_of_weights = |name: &Value| name.as_str().is_some_and(|name| FIELDS.contains(&name));
        fields.into_iter().partition(|(name, _)| is_of_weights(name))
    }

    /// Checks the values of the entry.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !is_plain(&self.file) {
            return Err("file must be a plain file name".to_owned());
        }
        if self.rewrite.is_some() && self.convert.is_some() {
            return Err(format!("{} has a rewrite and a convert, but only one is possible", self.file));
        }
        if let Some(convert) = &self.convert {
            convert.check()?;
        }
        for source in &self.sources {
            source.check()?;
        }
        for other in &self.beside {
            if !other.beside.is_empty() {
                return Err(format!("{} is beside another file, so it has none beside it", other.file));
            }
            other.check()?;
        }
        Ok(())
    }

    /// The model's file and those beside it.
    pub fn files(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.beside)
    }

    /// Whether all files are in the folder.
    pub fn is_in(&self, models_dir: &Path) -> bool {
        self.files().all(|weights| models_dir.join(&weights.file).exists())
    }

    /// The path of the file in the folder, after its hash and the hashes of those beside it are checked.
    ///
    /// # Errors
    /// A file cannot be read or has another hash.
    pub fn verified(&self, models_dir: &Path) -> Result<PathBuf, ModelError> {
        for weights in self.files() {
            let path = models_dir.join(&weights.file);
            let found = sha256_of_file(&path).map_err(|cause| ModelError::Unreadable { path: path.clone(), cause })?;
            if found != weights.sha256 {
                return Err(ModelError::WrongModel { path, found, expected: weights.sha256.clone() });
            }
        }
        Ok(models_dir.join(&self.file))
    }
}
