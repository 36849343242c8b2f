//! A model that is loaded when a window needs it, and freed when none has needed it for a while.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use models::FolderArgs;

use super::error::SpeechError;
use super::heard::Heard;
use super::whisper::{Attempt, Model, Session};

/// A model without a window for so long is freed.
const RELEASE_AFTER: Duration = Duration::from_secs(60);

/// The kind of the models in `models.yaml`.
const KIND: &str = "whisper";

/// A model of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineModel {
    /// Its name in `models.yaml`.
    pub name: String,
    /// SHA-256 of its file, in lower-case hexadecimal.
    pub sha256: String,
    /// Its file.
    pub path: PathBuf,
}

/// A model, and the sessions that wait for a window.
pub(super) struct Slot {
    pub model: EngineModel,
    folder: FolderArgs,
    gpu: Option<i32>,
    loaded: Mutex<Loaded>,
    /// Whether a task waits to free it.
    is_watched: AtomicBool,
}

#[derive(Default)]
struct Loaded {
    model: Option<Arc<Model>>,
    idle: Vec<Session>,
    in_use: usize,
    used_at: Option<Instant>,
}

impl Slot {
    /// Checks the file and loads nothing. Reads the whole file.
    pub fn new(name: &str, folder: &FolderArgs, gpu: Option<i32>) -> Result<Self, SpeechError> {
        let files = folder.open(name, KIND)?;
        let model = EngineModel { name: files.name, sha256: files.sha256, path: files.path };
        let (folder, loaded) = (folder.clone(), Mutex::default());
        Ok(Self { model, folder, gpu, loaded, is_watched: AtomicBool::new(false) })
    }

    /// Transcribes a window on this thread.
    pub fn run(&self, samples: &[f32], attempt: &Attempt, cancelled: &AtomicBool) -> Result<Heard, SpeechError> {
        if cancelled.load(Ordering::Relaxed) {
            return Err(SpeechError::Failed("it was cancelled".to_owned()));
        }
        let mut session = self.take(attempt)?;
        let heard = session.run(samples, attempt, cancelled);
        // The random numbers of a session begin anew only with a new one, and a failed one is in an unknown state.
        let is_reusable = heard.is_ok() && attempt.temperature == 0.0;
        self.put_back(is_reusable.then_some(session));
        heard.map_err(|error| SpeechError::Failed(error.to_string()))
    }

    /// A session, and the model if nothing has loaded it. Other threads wait meanwhile: they need it, too.
    fn take(&self, attempt: &Attempt) -> Result<Session, SpeechError> {
        let mut loaded = self.loaded();
        let idle = if attempt.temperature == 0.0 { loaded.idle.pop() } else { None };
        let session = match idle {
            Some(session) => session,
            None => self.model(&mut loaded)?.session().map_err(|error| SpeechError::Failed(error.to_string()))?,
        };
        loaded.in_use += 1;
        Ok(session)
    }

    fn model(&self, loaded: &mut Loaded) -> Result<Arc<Model>, SpeechError> {
        if let Some(model) = &loaded.model {
            return Ok(Arc::clone(model));
        }
        let began = Instant::now();
        // The file may have changed since the start.
        let files = self.folder.open(&self.model.name, KIND)?;
        if files.sha256 != self.model.sha256 {
            return Err(SpeechError::Failed(format!("{} was replaced; start again", files.path.display())));
        }
        let model = Model::load(&files.path, self.gpu).map_err(|error| SpeechError::Failed(error.to_string()))?;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(model = self.model.name, load.ms = ms, "loaded a speech model");
        Ok(Arc::clone(loaded.model.insert(Arc::new(model))))
    }

    fn put_back(&self, session: Option<Session>) {
        let mut loaded = self.loaded();
        loaded.in_use = loaded.in_use.saturating_sub(1);
        loaded.idle.extend(session);
        loaded.used_at = Some(Instant::now());
    }

    /// Frees the model when no window has needed it for [`RELEASE_AFTER`]. At most one task of a slot waits for that.
    pub fn free_later(self: &Arc<Self>) {
        if self.is_watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let slot = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(left) = slot.until_free() {
                tokio::time::sleep(left).await;
            }
        });
    }

    /// The time until the model may be freed; `None` when this freed it.
    fn until_free(&self) -> Option<Duration> {
        let mut loaded = self.loaded();
        if loaded.in_use > 0 {
            return Some(RELEASE_AFTER);
        }
        let idle = loaded.used_at.map_or(RELEASE_AFTER, |used_at| used_at.elapsed());
        let left = RELEASE_AFTER.checked_sub(idle).filter(|left| !left.is_zero());
        if left.is_none() {
            *loaded = Loaded::default();
            // Under the lock: a window that comes now loads the model again, and its task waits.
            self.is_watched.store(false, Ordering::Release);
        }
        left
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
