//! `models.yaml`: all models with their properties, and the models of each detector.
//!
//! The built-in document is compiled into the program, so a worker and its models match. An operator with other models or
//! engines passes a file of the same form. A model file is opened only if it has the hash of its entry: another file with
//! the same name would give wrong results.

mod entry;
mod error;
mod pull;
mod rewrite;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use contracts::DetectorName;
use serde::Deserialize;
use settings::SettingErrors;
use sha2::{Digest, Sha256};

use crate::model::Detector;
use crate::model::http::HttpDetector;
use crate::model::onnx::OnnxDetector;
use crate::runtime::RuntimeOptions;

pub use entry::{Engine, Model, Package, Source, Weights};
pub use error::OpenError;
pub use pull::{PullError, Pulled};
pub use rewrite::Rewrite;

const BUILT_IN: &str = include_str!("../models.yaml");

/// All detectors and models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// The models of each detector, the preferred one first.
    pub detectors: BTreeMap<DetectorName, Vec<String>>,
    /// Every model.
    pub models: Vec<Model>,
}

impl Registry {
    /// The built-in models.
    ///
    /// # Errors
    /// The built-in document is invalid; a test ensures that it is not.
    pub fn built_in() -> Result<Self, OpenError> {
        Self::parse("models.yaml", BUILT_IN)
    }

    /// The models of an operator's document.
    ///
    /// # Errors
    /// The file cannot be read or is invalid.
    pub fn from_file(path: &Path) -> Result<Self, OpenError> {
        let file = format!("SIGHTLINE_MODELS_FILE: {}", path.display());
        let text = std::fs::read_to_string(path)
            .map_err(|error| OpenError::Document { file: file.clone(), cause: error.to_string() })?;
        Self::parse(&file, &text)
    }

    fn parse(file: &str, text: &str) -> Result<Self, OpenError> {
        let document = |cause: String| OpenError::Document { file: file.to_owned(), cause };
        let registry: Self = serde_yaml_ng::from_str(text).map_err(|error| document(error.to_string()))?;
        for (detector, models) in &registry.detectors {
            if let Some(unknown) = models.iter().find(|name| registry.model(name).is_none()) {
                return Err(document(format!("the detector `{detector}` names the unknown model `{unknown}`")));
            }
        }
        for model in &registry.models {
            model.check().map_err(|fault| document(format!("the model `{}`: {fault}", model.name)))?;
        }
        Ok(registry)
    }

    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The model that a detector uses: the first of its models that needs no file or whose file is in the folder.
    ///
    /// # Errors
    /// The detector is unknown, or none of its model files is in the folder.
    pub fn chosen(&self, detector: &DetectorName, models_dir: &Path) -> Result<&Model, OpenError> {
        let exists = |model: &&Model| model.weights().is_none_or(|weights| models_dir.join(&weights.file).exists());
        let models = self.models_of(detector)?;
        models.iter().copied().find(exists).ok_or_else(|| {
            let files = models.iter().filter_map(|model| model.weights()).map(|weights| &*weights.file);
            OpenError::NoModel {
                detector: detector.clone(),
                files: files.collect::<Vec<_>>().join(" or "),
                dir: models_dir.to_path_buf(),
            }
        })
    }

    /// Adds an error for each detector that has no models.
    pub fn check(&self, detectors: &[DetectorName], errors: &mut SettingErrors) {
        for detector in detectors {
            errors.collect(self.models_of(detector));
        }
    }

    /// The models of a detector, the preferred one first.
    fn models_of(&self, detector: &DetectorName) -> Result<Vec<&Model>, OpenError> {
        let names = self.detectors.get(detector).ok_or_else(|| OpenError::UnknownDetector {
            name: detector.clone(),
            known: self.detectors.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })?;
        Ok(names.iter().filter_map(|name| self.model(name)).collect())
    }

    /// Opens a detector for the calling thread, which must not be a thread of an async runtime.
    ///
    /// # Errors
    /// The detector is unknown, its model or ONNX Runtime cannot be loaded, or the licence needs a setting.
    pub fn open(&self, detector: &DetectorName, options: &RuntimeOptions) -> Result<Box<dyn Detector>, OpenError> {
        let model = self.chosen(detector, &options.models_dir)?;
        self.open_model(detector, model, options)
    }

    /// Opens a detector with the given model, for comparisons of models.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn open_model(
        &self,
        detector: &DetectorName,
        model: &Model,
        options: &RuntimeOptions,
    ) -> Result<Box<dyn Detector>, OpenError> {
        model.check_licence(options.allow_noncommercial)?;
        let invalid = |cause| OpenError::UnusableEntry { model: model.name.clone(), cause };
        match &model.engine {
            Engine::Http(engine) => {
                let opened = HttpDetector::open(detector.clone(), &model.name, engine).map_err(invalid)?;
                Ok(Box::new(opened))
            }
            Engine::Onnx { weights, .. } => {
                let (head, tuning) = (model.head().map_err(invalid)?, model.tuning(weights));
                let file = weights.verified(&options.models_dir)?;
                Ok(Box::new(OnnxDetector::open(detector.clone(), &model.name, &file, head, tuning, options)?))
            }
        }
    }
}

/// SHA-256 in lower-case hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
