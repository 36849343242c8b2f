//! An entry of `models.yaml`.

use models::Weights;
use serde::Deserialize;
use serde::de::Error as _;
use serde_yaml_ng::{Mapping, Value};

use super::detector::DetectorEntry;
use super::error::OpenError;
use crate::model::crop_head::{self, CROP_HEADS, CropHead, Values};
use crate::model::crops::Eligible;
use crate::model::embedding::{self, EMBEDDINGS, FaceEmbedding};
use crate::model::head::{self, HEADS, Head};
use crate::model::http::HttpEngine;
use crate::model::onnx::Tuning;

/// One model.
pub type Model = models::Model<Engine>;

/// What a model is for, which decides in which list of a detector it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It finds boxes: `models`.
    Boxes,
    /// It runs on the crops of boxes: `crop_models`.
    Crops,
    /// It makes embeddings of faces: `embedding_models`.
    Embeddings,
    /// It is not for images: no list.
    Independent,
}

impl Role {
    /// What a model of this role does, for messages.
    pub(super) fn does(self) -> &'static str {
        match self {
            Self::Boxes => "finds boxes",
            Self::Crops => "runs on crops",
            Self::Embeddings => "makes embeddings",
            Self::Independent => "is not for images",
        }
    }

    /// The list of a detector for it.
    pub(super) fn list(self) -> &'static str {
        match self {
            Self::Boxes => "models",
            Self::Crops => "crop_models",
            Self::Embeddings => "embedding_models",
            Self::Independent => "no list",
        }
    }
}

/// How a model runs.
#[derive(Debug, Clone)]
pub enum Engine {
    /// Finds boxes, in this process by ONNX Runtime.
    Boxes {
        /// The kind of network, such as `yunet`.
        kind: String,
        /// The file.
        weights: Weights,
        /// Its settings.
        settings: BoxSettings,
    },
    /// Runs on the crops of boxes, in this process by ONNX Runtime.
    Crops {
        /// The kind of network, such as `vehicle_attributes`.
        kind: String,
        /// The file.
        weights: Weights,
        /// Its settings.
        settings: CropSettings,
    },
    /// Turns the faces that were found into embeddings, in this process by ONNX Runtime.
    Embeddings {
        /// The network.
        network: FaceEmbedding,
        /// The file.
        weights: Weights,
        /// Its settings.
        settings: EmbeddingSettings,
    },
    /// Finds boxes in another process, behind HTTP.
    Http(HttpEngine),
    /// Is not for images: other crates run it, and no detector uses it.
    Independent {
        /// The kind, such as `whisper`.
        kind: String,
        /// The file.
        weights: Weights,
    },
}

/// Settings of a model that finds boxes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxSettings {
    /// Minimum score of a detection, 0 to 1.
    pub threshold: f32,
    /// Maximum intersection over union of two boxes of one class, 0 to 1.
    pub nms_iou: f32,
    /// Images are scaled down to this many pixels on their longer side, unless the network's input has a fixed size.
    pub largest_side: u32,
    /// For a network that finds faces: longer side of a face, in pixels of the input, from which the image is looked at again at half the
    /// scale. None if its largest face is as large as the input.
    #[serde(default)]
    pub second_look_from: Option<u32>,
    /// Images per run of the network on a GPU.
    pub gpu_batch: usize,
    /// Label of each class, in the order of the network's output. Empty for the task as the only label.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Labels that are reported. Empty for all.
    #[serde(default)]
    pub classes: Vec<String>,
}

/// Settings of a model that runs on crops.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropSettings {
    /// Minimum score of a value, 0 to 1.
    pub threshold: f32,
    /// The values of the attribute, in the order of the network's output.
    pub labels: Vec<String>,
    /// Labels of the boxes that it runs on. Empty for all.
    #[serde(default)]
    pub runs_on: Vec<String>,
    /// Minimum width and height of these boxes in pixels.
    #[serde(default)]
    pub smallest_side: u32,
}

/// Settings of a model that makes embeddings of faces.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingSettings {
    /// Minimum width and height of a face in pixels. A smaller one has no embedding.
    pub smallest_side: u32,
}

impl EmbeddingSettings {
    pub(super) fn eligible(&self) -> Eligible {
        Eligible { labels: Vec::new(), smallest_side: self.smallest_side }
    }
}

impl models::Engine for Engine {
    fn weights(&self) -> Option<&Weights> {
        match self {
            Self::Boxes { weights, .. }
            | Self::Crops { weights, .. }
            | Self::Embeddings { weights, .. }
            | Self::Independent { weights, .. } => Some(weights),
            Self::Http(_) => None,
        }
    }

    fn is_independent(&self) -> bool {
        self.role() == Role::Independent
    }
}

impl Engine {
    /// What the model is for.
    pub fn role(&self) -> Role {
        match self {
            Self::Boxes { .. } | Self::Http(_) => Role::Boxes,
            Self::Crops { .. } => Role::Crops,
            Self::Embeddings { .. } => Role::Embeddings,
            Self::Independent { .. } => Role::Independent,
        }
    }

    /// The labels that a model with this task can report; `None` if they are not known before it runs.
    pub fn labels(&self, task: &str) -> Option<Vec<String>> {
        match self {
            Self::Boxes { settings, .. } => Some(settings.labels_or(task)),
            Self::Crops { .. } | Self::Embeddings { .. } | Self::Http(_) | Self::Independent { .. } => None,
        }
    }

    /// Checks the values of the entry of a model with this task. Those of its files are checked already.
    pub(super) fn check(&self, task: &str) -> Result<(), String> {
        match self {
            Self::Http(engine) => engine.parsed_url().map(drop),
            Self::Boxes { kind, settings, .. } => {
                settings.check(task)?;
                settings.head(kind, task).map(drop)
            }
            Self::Crops { kind, settings, .. } => {
                settings.check()?;
                settings.head(kind).map(drop)
            }
            Self::Embeddings { .. } | Self::Independent { .. } => Ok(()),
        }
    }
}

/// The error for an entry that cannot be used.
pub(super) fn unusable(model: &Model, cause: String) -> OpenError {
    OpenError::UnusableEntry { model: model.name.clone(), cause }
}

impl BoxSettings {
    /// The head that decodes the network's output.
    pub(super) fn head(&self, kind: &str, task: &str) -> Result<Box<dyn Head>, String> {
        let constructor = head::constructor(kind).ok_or_else(|| format!("the kind `{kind}` is unknown"))?;
        constructor(self.labels_or(task).len())
    }

    /// The settings of a detector: it reports its classes, or all labels if it has none.
    pub(super) fn tuning(&self, task: &str, detector: Option<&DetectorEntry>) -> Tuning {
        let classes = detector.map_or(&[][..], |detector| &detector.classes);
        let among = |classes: &[String], label: &String| classes.is_empty() || classes.contains(label);
        let reported = |label: &String| among(&self.classes, label) && among(classes, label);
        Tuning {
            threshold: self.threshold,
            nms_iou: self.nms_iou,
            label_nms_iou: detector.and_then(|detector| detector.label_nms_iou),
            largest_side: self.largest_side,
            second_look_from: self.second_look_from,
            gpu_batch: self.gpu_batch,
            labels: self.labels_or(task).into_iter().map(|label| Some(label).filter(reported)).collect(),
        }
    }

    fn labels_or(&self, task: &str) -> Vec<String> {
        if self.labels.is_empty() { vec![task.to_owned()] } else { self.labels.clone() }
    }

    fn check(&self, task: &str) -> Result<(), String> {
        check_share("threshold", self.threshold)?;
        check_share("nms_iou", self.nms_iou)?;
        if !(32..=16_384).contains(&self.largest_side) {
            return Err("largest_side must be between 32 and 16384".to_owned());
        }
        if self.second_look_from.is_some_and(|side| !(128..=16_384).contains(&side)) {
            return Err("second_look_from must be between 128 and 16384".to_owned());
        }
        let labels = self.labels_or(task);
        check_labels(&labels)?;
        match self.classes.iter().find(|class| !labels.contains(class)) {
            Some(unknown) => Err(format!("classes names `{unknown}`, which is none of the labels")),
            None => Ok(()),
        }
    }
}

impl CropSettings {
    /// The head that reads the network's output.
    pub(super) fn head(&self, kind: &str) -> Result<Box<dyn CropHead>, String> {
        let constructor = crop_head::constructor(kind).ok_or_else(|| format!("the kind `{kind}` is unknown"))?;
        constructor(Values { labels: self.labels.clone(), threshold: self.threshold })
    }

    pub(super) fn eligible(&self) -> Eligible {
        Eligible { labels: self.runs_on.clone(), smallest_side: self.smallest_side }
    }

    fn check(&self) -> Result<(), String> {
        check_share("threshold", self.threshold)?;
        check_labels(&self.labels)
    }
}

pub(super) fn check_share(name: &str, value: f32) -> Result<(), String> {
    match value {
        0.0..=1.0 => Ok(()),
        _ => Err(format!("{name} must be between 0 and 1")),
    }
}

fn check_labels(labels: &[String]) -> Result<(), String> {
    if labels.iter().all(|label| contracts::is_label(label)) {
        return Ok(());
    }
    Err("labels must have 1 to 64 characters each and no control characters".to_owned())
}

/// The kinds are entries of two tables and not enum variants, so the field `kind` is parsed first and decides how the others are
/// parsed.
impl<'de> Deserialize<'de> for Engine {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Mapping::deserialize(deserializer)?;
        let kind = fields.remove("kind").ok_or_else(|| D::Error::missing_field("kind"))?;
        let kind = kind.as_str().ok_or_else(|| D::Error::custom("kind must be a string"))?.to_owned();
        if kind == "http" {
            return read(fields).map(Self::Http).map_err(D::Error::custom);
        }
        let (weights, settings) = Weights::split(fields);
        let engine = if models::is_independent_kind(&kind) {
            none_left(&settings).and_then(|()| read(weights)).map(|weights| Self::Independent { kind, weights })
        } else if head::constructor(&kind).is_some() {
            read(weights).and_then(|weights| Ok(Self::Boxes { kind, weights, settings: read(settings)? }))
        } else if crop_head::constructor(&kind).is_some() {
            read(weights).and_then(|weights| Ok(Self::Crops { kind, weights, settings: read(settings)? }))
        } else if let Some(network) = embedding::of_kind(&kind) {
            read(weights).and_then(|weights| Ok(Self::Embeddings { network, weights, settings: read(settings)? }))
        } else {
            let heads = HEADS.iter().map(|(name, _)| *name).chain(CROP_HEADS.iter().map(|(name, _)| *name));
            let known: Vec<&str> = heads.chain(EMBEDDINGS.iter().map(|(name, _)| *name)).collect();
            return Err(D::Error::custom(format!("unknown kind `{kind}`, expected {} or http", known.join(", "))));
        };
        engine.map_err(D::Error::custom)
    }
}

fn read<T: serde::de::DeserializeOwned>(fields: Mapping) -> Result<T, serde_yaml_ng::Error> {
    serde_yaml_ng::from_value(Value::Mapping(fields))
}

/// Whether an engine without settings has none.
fn none_left(settings: &Mapping) -> Result<(), serde_yaml_ng::Error> {
    match settings.keys().next() {
        None => Ok(()),
        Some(name) => Err(serde_yaml_ng::Error::custom(format!("unknown field `{}`", name.as_str().unwrap_or("?")))),
    }
}
