//! The list of cameras as YAML: what is wrong with the form of each camera, not only of the first.

use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;

use super::{Cameras, SourceConfig, values};
use crate::redact::redact;

/// A list whose cameras can have any form.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a map with the list `cameras`")]
struct AnyList {
    cameras: Vec<Value>,
}

/// The cameras whose form is right, and what is wrong with the others.
pub fn read(text: &str) -> (Vec<SourceConfig>, Vec<String>) {
    let first = match serde_yaml_ng::from_str::<Cameras>(text) {
        Ok(list) => return (list.cameras, Vec::new()),
        Err(error) => in_words(&error),
    };
    // The form of the list itself is wrong.
    let Ok(list) = serde_yaml_ng::from_str::<AnyList>(text) else { return (Vec::new(), vec![first]) };
    let (mut cameras, mut mistakes) = (Vec::new(), Vec::new());
    for (index, camera) in list.cameras.into_iter().enumerate() {
        match alone(camera) {
            Ok(camera) => cameras.extend(camera),
            // The place in the text is that of the camera alone.
            Err(error) if !mistakes.is_empty() => {
                let error = error.split(" at line ").next().unwrap_or_default();
                mistakes.push(error.replacen("cameras[0]", &format!("cameras[{index}]"), 1));
            }
            Err(_) => mistakes.push(first.clone()),
        }
    }
    // Each is right, and yet not all of them: this cannot be split.
    if mistakes.is_empty() { (Vec::new(), vec![first]) } else { (cameras, mistakes) }
}

fn alone(camera: Value) -> Result<Vec<SourceConfig>, String> {
    let text = serde_yaml_ng::to_string(&AnyList { cameras: vec![camera] }).map_err(|error| in_words(&error))?;
    serde_yaml_ng::from_str::<Cameras>(&text).map(|list| list.cameras).map_err(|error| in_words(&error))
}

fn in_words(error: &serde_yaml_ng::Error) -> String {
    redact(&values::in_words(error))
}
