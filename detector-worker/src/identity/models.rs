//! The models that make embeddings of the faces of frames: that of the worker's own detector, and the one to which the service was changed.
//!
//! In: the name of the model that compares. Out: the model, open; nothing if it cannot be opened here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use gallery::Calibration;
use vision::inference::{DetectorSpec, Inference, InferenceSettings};

/// Time until it is tried again to open a model that could not be opened.
const REOPEN_AFTER: Duration = Duration::from_secs(30);

/// A model that makes embeddings.
#[derive(Clone)]
pub struct LiveModel {
    /// Its name.
    pub name: Arc<str>,
    /// What was measured of it.
    pub calibration: &'static Calibration,
    /// Finds the faces and makes the embeddings; `None` for the worker's own detector.
    pub inference: Option<Arc<Inference>>,
}

/// Makes the detector of faces with embeddings of the named model.
pub type MakeSpec = dyn Fn(&str) -> anyhow::Result<DetectorSpec> + Send + Sync;

/// The model to which the service was changed since the worker began. Opened by the first frame that needs it, while the others wait.
#[derive(Default)]
pub struct OtherModels {
    /// Without it, no other model can be opened.
    pub make: Option<(Box<MakeSpec>, InferenceSettings)>,
    last: tokio::sync::Mutex<Option<Tried>>,
}

/// The last model that was to be opened.
struct Tried {
    name: Arc<str>,
    /// The model, or when it could not be opened.
    opened: Result<LiveModel, Instant>,
}

impl OtherModels {
    /// The model with this name; `None` if it cannot be opened.
    pub async fn get(&self, name: &Arc<str>) -> Option<LiveModel> {
        let mut last = self.last.lock().await;
        match &*last {
            Some(Tried { name: known, opened: Ok(model) }) if known == name => return Some(model.clone()),
            Some(Tried { name: known, opened: Err(at) }) if known == name && at.elapsed() < REOPEN_AFTER => {
                return None;
            }
            _ => {}
        }
        let opened = self.open(name).await;
        if let Err(error) = &opened {
            tracing::warn!(
                model = %name, error = format!("{error:#}"),
                "faces are unchecked, because the model that compares cannot be opened"
            );
        }
        // The one before it is closed with its last frame.
        let opened = opened.map_err(|_| Instant::now());
        let model = opened.as_ref().ok().cloned();
        *last = Some(Tried { name: Arc::clone(name), opened });
        model
    }

    async fn open(&self, name: &Arc<str>) -> anyhow::Result<LiveModel> {
        let (make, settings) = self.make.as_ref().context("this worker has one model for embeddings")?;
        let calibration = calibration(name)?;
        let inference = Inference::start(make(name)?, *settings).await?;
        Ok(LiveModel { name: Arc::clone(name), calibration, inference: Some(Arc::new(inference)) })
    }
}

/// What was measured of a model.
///
/// # Errors
/// Nothing was.
pub fn calibration(model: &str) -> anyhow::Result<&'static Calibration> {
    Calibration::of(model).with_context(|| format!("the false matches of the model {model} were not measured"))
}
