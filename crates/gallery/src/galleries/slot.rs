//! The place of one gallery: what is in memory, and the task that brings it up to date.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::task::JoinHandle;

use super::loaded::Loaded;
use crate::seam::GalleryError;

/// How a refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// The gallery is in memory.
    InMemory,
    /// It does not fit.
    TooLarge,
}

pub(super) type Refresh = Shared<BoxFuture<'static, Result<Refreshed, GalleryError>>>;

/// The place of one gallery.
#[derive(Default)]
pub(super) struct Slot {
    loaded: Mutex<Option<Arc<Loaded>>>,
    /// The last refresh that was started. It holds no gallery, only how it ended.
    refresh: Mutex<Option<Refresh>>,
    last_use: AtomicU64,
}

impl Slot {
    pub(super) fn loaded(&self) -> Option<Arc<Loaded>> {
        lock(&self.loaded).clone()
    }

    pub(super) fn set(&self, loaded: Loaded) {
        *lock(&self.loaded) = Some(Arc::new(loaded));
    }

    /// Searches that are running keep the gallery until they end.
    pub(super) fn clear(&self) {
        lock(&self.loaded).take();
    }

    pub(super) fn use_at(&self, use_: u64) {
        self.last_use.store(use_, Ordering::Relaxed);
    }

    pub(super) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Waits for the refresh that is running, or starts one. All who wait get its result, also an error, so that a store that is out of
    /// reach is not asked once for each of them. The task goes on when nobody waits any more.
    pub(super) fn refresh(&self, start: impl FnOnce() -> JoinHandle<Result<Refreshed, GalleryError>>) -> Refresh {
        let mut refresh = lock(&self.refresh);
        if let Some(running) = refresh.as_ref().filter(|running| running.peek().is_none()) {
            return running.clone();
        }
        let task = start();
        let ended = |error: tokio::task::JoinError| Err(GalleryError::Unavailable(format!("the task ended: {error}")));
        let started = async move { task.await.unwrap_or_else(ended) }.boxed().shared();
        *refresh = Some(started.clone());
        started
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
