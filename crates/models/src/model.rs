//! An entry of `models.yaml`: what every model has, whatever runs it.

use std::path::Path;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_yaml_ng::{Mapping, Value};

use crate::error::ModelError;
use crate::weights::Weights;

/// Kinds of models that no detector uses: who runs one asks for it by its name. Their engines have a file and no settings.
const INDEPENDENT_KINDS: [&str; 3] = ["whisper", "silero_vad", "minilm"];

/// Whether no detector uses models of this kind.
pub fn is_independent_kind(kind: &str) -> bool {
    INDEPENDENT_KINDS.contains(&kind)
}

/// How a model runs, as far as its files are concerned.
pub trait Engine {
    /// The model's file; `None` for an engine behind HTTP.
    fn weights(&self) -> Option<&Weights>;

    /// Whether no detector uses the model.
    fn is_independent(&self) -> bool;
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model<E = AnyEngine> {
    /// Unique name, such as `yunet_n`.
    pub name: String,
    /// Task, such as `face`. It is also the only label of a detector's model without `labels`.
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
    pub engine: E,
}

impl<E: Engine> Model<E> {
    /// The model's file; `None` for an engine behind HTTP.
    pub fn weights(&self) -> Option<&Weights> {
        self.engine.weights()
    }

    /// Whether it needs no file, or its files are in the folder.
    pub fn is_in(&self, models_dir: &Path) -> bool {
        self.weights().is_none_or(|weights| weights.is_in(models_dir))
    }

    /// Its name and file, for messages.
    pub fn described(&self) -> String {
        match self.weights() {
            Some(weights) => format!("{} ({})", self.name, weights.file),
            None => self.name.clone(),
        }
    }

    /// Checks that the licence allows what the operator does with the model.
    ///
    /// # Errors
    /// The licence forbids commercial use, and the operator did not say that the use is not commercial.
    pub fn check_licence(&self, allow_noncommercial: bool) -> Result<(), ModelError> {
        if self.commercial || allow_noncommercial {
            return Ok(());
        }
        Err(ModelError::Licence { model: self.name.clone(), licence: self.licence.clone() })
    }
}

/// An engine of any kind. The settings of detectors are not read.
#[derive(Debug, Clone)]
pub struct AnyEngine {
    /// The kind, such as `whisper`.
    pub kind: String,
    /// The file; `None` for an engine behind HTTP.
    pub weights: Option<Weights>,
}

impl Engine for AnyEngine {
    fn weights(&self) -> Option<&Weights> {
        self.weights.as_ref()
    }

    fn is_independent(&self) -> bool {
        is_independent_kind(&self.kind)
    }
}

impl<'de> Deserialize<'de> for AnyEngine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Mapping::deserialize(deserializer)?;
        let kind = fields.remove("kind").ok_or_else(|| D::Error::missing_field("kind"))?;
        let kind = kind.as_str().ok_or_else(|| D::Error::custom("kind must be a string"))?.to_owned();
        let (weights, settings) = Weights::split(fields);
        if is_independent_kind(&kind)
            && let Some(name) = settings.keys().next().and_then(Value::as_str)
        {
            return Err(D::Error::custom(format!("unknown field `{name}` of the kind {kind}")));
        }
        let weights = match &*kind {
            "http" => None,
            _ => Some(serde_yaml_ng::from_value(Value::Mapping(weights)).map_err(D::Error::custom)?),
        };
        Ok(Self { kind, weights })
    }
}
