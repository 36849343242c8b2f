//! Which model compares faces, in words: for `/readyz` and the start message of `up`.
//!
//! In: the models folder, and the name of the model that is stored as the one that compares. Out: a line, which names what is missing or
//! damaged and the command that fetches it, but no folder. No model is opened. The hash of a file is computed only after it was changed,
//! so probes cost nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use platform::Health;
use store::Relational;
use vision::ModelArgs;
use vision::registry::Model;

use crate::encoder::detector;

/// When a file was changed last, and its length.
type Stamp = (Option<SystemTime>, u64);

/// Says which model compares faces. Clones share what is known of the files.
#[derive(Clone)]
pub struct ModelNote(Arc<Inner>);

struct Inner {
    database: Relational,
    models: ModelArgs,
    /// Whether the hash of each file was right.
    checked: Mutex<HashMap<PathBuf, (Stamp, bool)>>,
}

impl ModelNote {
    /// Reads nothing yet.
    pub fn new(database: &Relational, models: &ModelArgs) -> Self {
        Self(Arc::new(Inner { database: database.clone(), models: models.clone(), checked: Mutex::default() }))
    }

    /// The line, as it is now.
    pub async fn text(&self) -> String {
        let active = match self.0.database.face_models().await {
            Ok(stored) => stored.map(|models| models.active),
            Err(error) => return format!("it is not known which model compares faces: {error}"),
        };
        let inner = Arc::clone(&self.0);
        let text = tokio::task::spawn_blocking(move || inner.text(active.as_deref())).await;
        text.unwrap_or_else(|error| error.to_string())
    }

    /// Adds the line to what `/readyz` shows.
    #[must_use]
    pub fn shown_by(&self, health: Health) -> Health {
        let note = self.clone();
        health.with_note("face models", move || {
            let note = note.clone();
            async move { note.text().await }
        })
    }
}

impl Inner {
    fn text(&self, active: Option<&str>) -> String {
        let (face, folder) = (detector(), self.models.dir());
        let Ok(registry) = self.models.registry() else { return "the document of models cannot be read".to_owned() };
        let Ok(finds) = registry.chosen(&face, &folder) else {
            return "no model finds faces: sightline models pull".to_owned();
        };
        let compares = match active {
            Some(name) => registry.embedding_model_named(&face, name, &folder),
            None => registry.embedding_model(&face, &folder),
        };
        let Ok(compares) = compares else { return missing(active) };
        match [finds, compares].into_iter().find(|model| !self.is_whole(model, &folder)) {
            Some(Model { name, .. }) => {
                format!("the file of {name} is damaged, or another one: sightline models pull {name}")
            }
            None => format!("{} compares the faces that {} finds", compares.name, finds.name),
        }
    }

    /// Whether the file of a model has the hash of its entry.
    fn is_whole(&self, model: &Model, folder: &Path) -> bool {
        let Some(weights) = model.weights() else { return true };
        let path = folder.join(&weights.file);
        let Ok(metadata) = std::fs::metadata(&path) else { return false };
        let stamp = (metadata.modified().ok(), metadata.len());
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, is_whole)) = checked.get(&path)
            && *known == stamp
        {
            return *is_whole;
        }
        let is_whole = weights.verified(folder).is_ok();
        checked.insert(path, (stamp, is_whole));
        is_whole
    }
}

fn missing(active: Option<&str>) -> String {
    match active {
        Some(name) => format!("the file of {name}, which compares faces, is missing: sightline models pull {name}"),
        None => "no model compares faces: sightline models pull mobilefacenet_128d".to_owned(),
    }
}
