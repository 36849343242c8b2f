//! A detector in `models.yaml`: its models, what it reports of their output, and the models that run on its boxes.
//!
//! The short form is the list of its models.

use contracts::AttributeName;
use serde::{Deserialize, Deserializer};
use serde_yaml_ng::Value;

use super::Registry;

/// One detector. The name is its key in the document.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct DetectorEntry {
    /// Names of its models, the preferred one first. It uses the first one whose file is in the models folder.
    pub models: Vec<String>,
    /// Labels that it reports. Empty for all labels of the model.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Attribute that repeats the label of each detection.
    #[serde(default)]
    pub label_attribute: Option<AttributeName>,
    /// Names of models that run on the crops of the boxes found. The detector works without those whose files are missing.
    #[serde(default)]
    pub crop_models: Vec<String>,
}

impl<'de> Deserialize<'de> for DetectorEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entry = match Value::deserialize(deserializer)? {
            models @ Value::Sequence(_) => Value::Mapping([("models".into(), models)].into_iter().collect()),
            entry => entry,
        };
        Self::deserialize(entry).map_err(serde::de::Error::custom)
    }
}

impl DetectorEntry {
    /// Checks that its models exist and report its classes.
    pub(super) fn check(&self, registry: &Registry) -> Result<(), String> {
        for name in &self.models {
            let model = registry.model(name).ok_or_else(|| format!("names the unknown model `{name}`"))?;
            if model.runs_on_crops() {
                return Err(format!("names `{name}` among its models, but that runs on crops: put it in crop_models"));
            }
            let labels = model.labels();
            if !self.classes.is_empty() && labels.is_none() {
                return Err(format!("has classes, but the labels of its model `{name}` are not known"));
            }
            let known = |class: &&String| labels.as_ref().is_none_or(|labels| labels.contains(class));
            if let Some(unknown) = self.classes.iter().find(|class| !known(class)) {
                return Err(format!("has the class `{unknown}`, which is no label of its model `{name}`"));
            }
        }
        for name in &self.crop_models {
            let model = registry.model(name).ok_or_else(|| format!("names the unknown crop model `{name}`"))?;
            if !model.runs_on_crops() {
                return Err(format!("names `{name}` among its crop models, but that finds boxes: put it in models"));
            }
        }
        Ok(())
    }
}
