//! A detector in `models.yaml`: its models, what it reports of their output, and the models that run on its boxes.
//!
//! The short form is the list of its models.

use contracts::AttributeName;
use serde::{Deserialize, Deserializer};
use serde_yaml_ng::Value;

use super::entry::check_share;
use super::{Model, Registry, Role};

/// One detector. The name is its key in the document.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct DetectorEntry {
    /// Names of its models, the preferred one first. It uses the first one whose file is in the models folder.
    pub models: Vec<String>,
    /// Labels that it reports. Empty for all labels of the model.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Maximum intersection over union of two boxes of different labels, 0 to 1: of boxes that overlap more, which are one thing with two
    /// labels, the one with the highest score is kept. Without it, labels do not exclude each other.
    #[serde(default)]
    pub label_nms_iou: Option<f32>,
    /// Attribute that repeats the label of each detection.
    #[serde(default)]
    pub label_attribute: Option<AttributeName>,
    /// Names of models that run on the crops of the boxes found. The detector works without those whose files are missing.
    #[serde(default)]
    pub crop_models: Vec<String>,
    /// Names of models that make embeddings of the faces found, the preferred one first. They run only where embeddings are asked for.
    #[serde(default)]
    pub embedding_models: Vec<String>,
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
    /// Checks that its models exist, are in the right list, and report its classes.
    pub(super) fn check(&self, registry: &Registry) -> Result<(), String> {
        for name in &self.models {
            let model = expect(registry, name, Role::Boxes)?;
            let labels = model.engine.labels(&model.task);
            if !self.classes.is_empty() && labels.is_none() {
                return Err(format!("has classes, but the labels of its model `{name}` are not known"));
            }
            let known = |class: &&String| labels.as_ref().is_none_or(|labels| labels.contains(class));
            if let Some(unknown) = self.classes.iter().find(|class| !known(class)) {
                return Err(format!("has the class `{unknown}`, which is no label of its model `{name}`"));
            }
        }
        if let Some(share) = self.label_nms_iou {
            check_share("label_nms_iou", share)?;
        }
        for (names, role) in [(&self.crop_models, Role::Crops), (&self.embedding_models, Role::Embeddings)] {
            for name in names {
                expect(registry, name, role)?;
            }
        }
        Ok(())
    }
}

/// The model of that name, if it has that role.
fn expect<'a>(registry: &'a Registry, name: &str, role: Role) -> Result<&'a Model, String> {
    let list = role.list();
    let model = registry.model(name).ok_or_else(|| format!("names the unknown model `{name}` in {list}"))?;
    let found = model.engine.role();
    if found == role {
        return Ok(model);
    }
    Err(format!("names `{name}` in {list}, but that {}: put it in {}", found.does(), found.list()))
}
