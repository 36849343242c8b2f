//! A handle of an embedder for async code: calls wait in a queue of bounded length, and the network runs outside the runtime's threads.

use std::sync::Arc;

use models::FolderArgs;
use onnx::SessionOptions;
use tokio::sync::{Mutex, Semaphore};

use crate::embedder::Embedder;
use crate::embedding::Embedding;
use crate::error::TextError;

/// The model.
const MODEL: &str = "minilm-l6-v2";
const KIND: &str = "minilm";

/// Calls that are processed or wait.
const MAX_CALLS: usize = 16;

/// Texts of one call.
pub const MAX_TEXTS: usize = 20_000;

/// Texts that are embedded before another call has its turn, so that a search does not wait for a whole book.
const TURN: usize = 64;

/// Makes embeddings. Clones share one session, which is opened at the first call.
#[derive(Clone)]
pub struct Embeddings(Arc<Inner>);

struct Inner {
    folder: FolderArgs,
    options: SessionOptions,
    calls: Semaphore,
    embedder: Arc<Mutex<Option<Embedder>>>,
}

impl Embeddings {
    /// Opens nothing yet.
    pub fn new(folder: FolderArgs, options: SessionOptions) -> Self {
        let (calls, embedder) = (Semaphore::new(MAX_CALLS), Arc::default());
        Self(Arc::new(Inner { folder, options, calls, embedder }))
    }

    /// The embedding of each text, in the order of the texts. A call that is no longer awaited ends after its turn.
    ///
    /// # Errors
    /// The model cannot be opened, which the next call tries again; the network does not run; or too many calls wait.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Vec<Embedding>, TextError> {
        if texts.len() > MAX_TEXTS {
            return Err(TextError::TooMany(texts.len()));
        }
        let _call = self.0.calls.try_acquire().map_err(|_| TextError::Busy)?;
        let mut embeddings = Vec::with_capacity(texts.len());
        let mut texts = texts.into_iter();
        loop {
            let turn: Vec<String> = texts.by_ref().take(TURN).collect();
            if turn.is_empty() {
                return Ok(embeddings);
            }
            let mut embedder = Arc::clone(&self.0.embedder).lock_owned().await;
            let inner = Arc::clone(&self.0);
            let done = tokio::task::spawn_blocking(move || inner.turn(&mut embedder, &turn)).await;
            embeddings.extend(done.map_err(|error| TextError::Stopped(error.to_string()))??);
        }
    }
}

impl Inner {
    fn turn(&self, embedder: &mut Option<Embedder>, texts: &[String]) -> Result<Vec<Embedding>, TextError> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        if let Some(embedder) = embedder.as_mut() {
            return embedder.embed(&texts);
        }
        let opened = Embedder::open(&self.folder.open(MODEL, KIND)?, &self.options)?;
        embedder.insert(opened).embed(&texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_model_is_an_error_of_each_call() {
        let folder = tempfile::tempdir().unwrap();
        let args =
            FolderArgs { models_dir: Some(folder.path().to_path_buf()), models_file: None, allow_noncommercial: false };
        let embeddings = Embeddings::new(args, SessionOptions::cpu(folder.path()));
        for _ in 0..2 {
            let error = embeddings.embed(vec!["a".to_owned()]).await.unwrap_err().to_string();
            assert!(error.contains("sightline models pull minilm-l6-v2"), "{error}");
        }
        assert!(embeddings.embed(Vec::new()).await.unwrap().is_empty());
        let many = vec![String::new(); MAX_TEXTS + 1];
        assert!(matches!(embeddings.embed(many).await, Err(TextError::TooMany(_))));
    }
}
