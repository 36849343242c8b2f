//! The detectors of `models.yaml`: their models with the settings that this crate gives a meaning, and how one is opened.
//!
//! The document, its files and their sources are those of the crate `models`. A model file is opened only if it has the hash of its
//! entry: another file with the same name would give wrong results.

mod detector;
mod entry;
mod error;
mod pull;

use std::collections::BTreeMap;
use std::path::Path;

use contracts::DetectorName;
use models::{Document, file_setting};
use settings::SettingErrors;

use crate::model::Detector;
use crate::model::crop_head::CropHead;
use crate::model::crops::CropModel;
use crate::model::http::HttpDetector;
use crate::model::onnx::OnnxDetector;
use crate::model::two_stage::TwoStage;
use crate::runtime::RuntimeOptions;

pub use detector::DetectorEntry;
pub use entry::{BoxSettings, Engine, Model};
use entry::{Role, unusable};
pub use error::OpenError;
pub use models::{ModelError, Pulled, Weights};
pub use pull::{Pull, PullError};

/// All detectors and models.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Every detector.
    pub detectors: BTreeMap<DetectorName, DetectorEntry>,
    /// Every model.
    pub models: Vec<Model>,
}

impl Registry {
    /// The built-in models.
    ///
    /// # Errors
    /// The built-in document is invalid; a test ensures that it is not.
    pub fn built_in() -> Result<Self, OpenError> {
        Self::of("models.yaml", Document::built_in()?)
    }

    /// The models of an operator's document, and the built-in ones that are not for images.
    ///
    /// # Errors
    /// The file cannot be read or is invalid.
    pub fn from_file(path: &Path) -> Result<Self, OpenError> {
        Self::of(&file_setting(path), Document::from_file(path)?)
    }

    #[cfg(test)]
    fn parse(file: &str, text: &str) -> Result<Self, OpenError> {
        Self::of(file, Document::parse(file, text)?)
    }

    /// Checks what only detectors know.
    fn of(file: &str, document: Document<DetectorEntry, Engine>) -> Result<Self, OpenError> {
        let invalid = |cause: String| ModelError::Document { file: file.to_owned(), cause };
        let registry = Self { detectors: document.detectors, models: document.models };
        for model in &registry.models {
            let checked = model.engine.check(&model.task);
            checked.map_err(|fault| invalid(format!("the model `{}`: {fault}", model.name)))?;
        }
        for (detector, entry) in &registry.detectors {
            entry.check(&registry).map_err(|fault| invalid(format!("the detector `{detector}` {fault}")))?;
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
        let models = self.models_of(detector)?;
        models.iter().copied().find(|model| model.is_in(models_dir)).ok_or_else(|| {
            let files = models.iter().filter_map(|model| model.weights()).map(|weights| &*weights.file);
            OpenError::NoModel {
                detector: detector.clone(),
                files: files.collect::<Vec<_>>().join(" or "),
                dir: models_dir.to_path_buf(),
            }
        })
    }

    /// The crop models of a detector whose files are not in the folder. The detector works without them.
    pub fn missing_crop_models(&self, detector: &DetectorName, models_dir: &Path) -> Vec<&Model> {
        self.crop_models_of(detector).filter(|model| !model.is_in(models_dir)).collect()
    }

    /// The model that makes the embeddings of a detector's faces: the first of its embedding models whose file is in the folder.
    ///
    /// # Errors
    /// The detector is unknown or has no embedding models, or none of their files is in the folder.
    pub fn embedding_model(&self, detector: &DetectorName, models_dir: &Path) -> Result<&Model, OpenError> {
        let names = self.entry(detector)?.embedding_models.iter();
        let models: Vec<&Model> = names.filter_map(|name| self.model(name)).collect();
        models.iter().copied().find(|model| model.is_in(models_dir)).ok_or_else(|| OpenError::NoEmbeddingModel {
            detector: detector.clone(),
            models: models.iter().map(|model| model.described()).collect::<Vec<_>>().join(" or "),
            dir: models_dir.to_path_buf(),
        })
    }

    /// One of a detector's embedding models, by its name.
    ///
    /// # Errors
    /// The detector is unknown or has no such embedding model, or its file is not in the folder.
    pub fn embedding_model_named(
        &self,
        detector: &DetectorName,
        name: &str,
        models_dir: &Path,
    ) -> Result<&Model, OpenError> {
        let is_listed = self.entry(detector)?.embedding_models.iter().any(|known| known == name);
        let model = self.model(name).filter(|model| is_listed && model.is_in(models_dir));
        model.ok_or_else(|| OpenError::NoSuchEmbeddingModel {
            detector: detector.clone(),
            model: name.to_owned(),
            dir: models_dir.to_path_buf(),
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
        Ok(self.entry(detector)?.models.iter().filter_map(|name| self.model(name)).collect())
    }

    fn entry(&self, detector: &DetectorName) -> Result<&DetectorEntry, OpenError> {
        self.detectors.get(detector).ok_or_else(|| OpenError::UnknownDetector {
            name: detector.clone(),
            known: self.detectors.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })
    }

    /// The crop models of a detector, in the order in which they run. None for an unknown detector.
    fn crop_models_of(&self, detector: &DetectorName) -> impl Iterator<Item = &Model> {
        let names = self.detectors.get(detector).into_iter().flat_map(|entry| &entry.crop_models);
        names.filter_map(|name| self.model(name))
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
        self.open_stages(detector, model, None, options)
    }

    /// Opens a detector that also makes an embedding of each face, with one of its [embedding models](Self::embedding_model).
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub fn open_with_embeddings(
        &self,
        detector: &DetectorName,
        embedding: &Model,
        options: &RuntimeOptions,
    ) -> Result<Box<dyn Detector>, OpenError> {
        self.open_stages(detector, self.chosen(detector, &options.models_dir)?, Some(embedding), options)
    }

    fn open_stages(
        &self,
        detector: &DetectorName,
        model: &Model,
        embedding: Option<&Model>,
        options: &RuntimeOptions,
    ) -> Result<Box<dyn Detector>, OpenError> {
        let entry = self.detectors.get(detector);
        let first = open_first(detector, entry, model, options)?;
        let crop_models = self.crop_models_of(detector).filter(|model| model.is_in(&options.models_dir));
        let second = crop_models.chain(embedding).map(|model| open_second(model, options));
        let crop_models = second.collect::<Result<Vec<_>, _>>()?;
        let label_attribute = entry.and_then(|entry| entry.label_attribute.clone());
        if label_attribute.is_none() && crop_models.is_empty() {
            return Ok(first);
        }
        Ok(Box::new(TwoStage { first, label_attribute, crop_models }))
    }
}

/// Opens the model that finds the boxes.
fn open_first(
    detector: &DetectorName,
    entry: Option<&DetectorEntry>,
    model: &Model,
    options: &RuntimeOptions,
) -> Result<Box<dyn Detector>, OpenError> {
    model.check_licence(options.allow_noncommercial)?;
    match &model.engine {
        Engine::Http(engine) => {
            let opened =
                HttpDetector::open(detector.clone(), &model.name, engine).map_err(|cause| unusable(model, cause))?;
            Ok(Box::new(opened))
        }
        Engine::Boxes { kind, weights, settings } => {
            let head = settings.head(kind, &model.task).map_err(|cause| unusable(model, cause))?;
            let tuning = settings.tuning(&model.task, entry);
            let file = weights.verified(&options.models_dir)?;
            Ok(Box::new(OnnxDetector::open(detector.clone(), &model.name, &file, head, tuning, options)?))
        }
        Engine::Crops { .. } | Engine::Embeddings { .. } | Engine::Independent { .. } => {
            Err(unusable(model, "it finds no boxes".to_owned()))
        }
    }
}

/// Opens a model that runs on the boxes found.
fn open_second(model: &Model, options: &RuntimeOptions) -> Result<CropModel, OpenError> {
    model.check_licence(options.allow_noncommercial)?;
    let (head, weights, eligible): (Box<dyn CropHead>, _, _) = match &model.engine {
        Engine::Crops { kind, weights, settings } => {
            let head = settings.head(kind).map_err(|cause| unusable(model, cause))?;
            (head, weights, settings.eligible())
        }
        Engine::Embeddings { network, weights, settings } => (Box::new(*network), weights, settings.eligible()),
        Engine::Boxes { .. } | Engine::Http(_) | Engine::Independent { .. } => {
            return Err(unusable(model, "it does not run on the boxes of another model".to_owned()));
        }
    };
    let file = weights.verified(&options.models_dir)?;
    Ok(CropModel::open(&file, head, eligible, options)?)
}

#[cfg(test)]
mod tests;
