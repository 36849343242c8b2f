//! `models.yaml`: all models, and the models of each detector.
//!
//! The built-in document is compiled into the program, so a program and its models match. An operator with other models or engines
//! passes a file of the same form. It replaces the built-in document, except for the models that no detector uses: speech and text have
//! theirs also where the operator's file names only those for images.

use std::collections::BTreeMap;
use std::path::Path;

use contracts::DetectorName;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::error::ModelError;
use crate::model::{AnyEngine, Engine, Model};
use crate::pull::{self, PullError, Pulled};
use crate::weights::Weights;

/// The built-in document.
pub const BUILT_IN: &str = include_str!("../models.yaml");

/// The name of an operator's document in messages: the setting and the file.
pub fn file_setting(path: &Path) -> String {
    format!("SIGHTLINE_MODELS_FILE: {}", path.display())
}

/// All detectors and models, with detectors `D` and engines `E` as the caller reads them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document<D, E> {
    /// Every detector.
    pub detectors: BTreeMap<DetectorName, D>,
    /// Every model.
    pub models: Vec<Model<E>>,
}

impl<D: DeserializeOwned, E: DeserializeOwned + Engine> Document<D, E> {
    /// The built-in models.
    ///
    /// # Errors
    /// The built-in document is invalid; a test ensures that it is not.
    pub fn built_in() -> Result<Self, ModelError> {
        Self::parse("models.yaml", BUILT_IN)
    }

    /// The models of an operator's document, and the built-in ones that no detector uses.
    ///
    /// # Errors
    /// The file cannot be read or is invalid.
    pub fn from_file(path: &Path) -> Result<Self, ModelError> {
        let file = file_setting(path);
        let text = std::fs::read_to_string(path)
            .map_err(|error| ModelError::Document { file: file.clone(), cause: error.to_string() })?;
        let mut document = Self::parse(&file, &text)?;
        let is_missing = |model: &Model<E>| {
            model.engine.is_independent() && document.models.iter().all(|known| known.name != model.name)
        };
        let added: Vec<Model<E>> = Self::built_in()?.models.into_iter().filter(is_missing).collect();
        document.models.extend(added);
        Ok(document)
    }

    /// A document. `file` is its name in messages.
    ///
    /// # Errors
    /// The text is invalid.
    pub fn parse(file: &str, text: &str) -> Result<Self, ModelError> {
        let invalid = |cause: String| ModelError::Document { file: file.to_owned(), cause };
        let document: Self = serde_yaml_ng::from_str(text).map_err(|error| invalid(error.to_string()))?;
        for model in &document.models {
            let checked = model.weights().map_or(Ok(()), Weights::check);
            checked.map_err(|fault| invalid(format!("the model `{}`: {fault}", model.name)))?;
        }
        Ok(document)
    }
}

/// A document of which only the models are read.
pub(crate) type AnyDocument = Document<IgnoredAny, AnyEngine>;

/// Every model, whatever runs it.
#[derive(Debug, Clone)]
pub struct Models {
    /// Every model.
    pub models: Vec<Model>,
}

impl Models {
    /// The built-in models.
    ///
    /// # Errors
    /// The built-in document is invalid; a test ensures that it is not.
    pub fn built_in() -> Result<Self, ModelError> {
        Ok(AnyDocument::built_in()?.into())
    }

    /// The models of an operator's document, and the built-in ones that no detector uses.
    ///
    /// # Errors
    /// The file cannot be read or is invalid.
    pub fn from_file(path: &Path) -> Result<Self, ModelError> {
        Ok(AnyDocument::from_file(path)?.into())
    }

    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The models of a kind, such as `whisper`.
    pub fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Model> {
        self.models.iter().filter(move |model| model.engine.kind == kind)
    }

    /// Fetches the models with these names. One whose files are in the folder with the right hash is not fetched.
    ///
    /// # Errors
    /// A name is unknown, a licence needs a setting, the folder is not writable, or no source delivers the right file.
    pub async fn pull(
        &self,
        models_dir: &Path,
        names: &[String],
        allow_noncommercial: bool,
    ) -> Result<Vec<Pulled>, PullError> {
        pull::create_folder(models_dir)?;
        let mut pulled = Vec::new();
        for name in names {
            pulled.extend(pull::named(models_dir, name, self.model(name), allow_noncommercial).await?);
        }
        Ok(pulled)
    }
}

impl From<AnyDocument> for Models {
    fn from(document: AnyDocument) -> Self {
        Self { models: document.models }
    }
}
