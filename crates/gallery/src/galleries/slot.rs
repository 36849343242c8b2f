//! The place of one gallery: what is in memory, and the task that brings it up to date.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::task::{AbortHandle, JoinHandle};

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

/// The last refresh that was started. It holds no gallery, only how it ended.
struct Started {
    /// Tells whether the task runs, also when nobody waits for it: a shared future learns that only when it is polled.
    task: AbortHandle,
    ended: Refresh,
}

/// The place of one gallery.
pub(super) struct Slot {
    loaded: Mutex<Option<Arc<Loaded>>>,
    refresh: Mutex<Option<Started>>,
    last_use: AtomicU64,
    last_used_at: Mutex<Instant>,
}

impl Slot {
    pub(super) fn new() -> Self {
        Self {
            loaded: Mutex::default(),
            refresh: Mutex::default(),
            last_use: AtomicU64::new(0),
            last_used_at: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn loaded(&self) -> Option<Arc<Loaded>> {
        lock(&self.loaded).clone()
    }

    pub(super) fn set(&self, loaded: Loaded) {
        *lock(&self.loaded) = Some(Arc::new(loaded));
    }

    /// Searches that are running keep the gallery until they end. Returns the gallery that was in memory.
    pub(super) fn clear(&self) -> Option<Arc<Loaded>> {
        lock(&self.loaded).take()
    }

    pub(super) fn use_at(&self, use_: u64) {
        self.last_use.store(use_, Ordering::Relaxed);
        *lock(&self.last_used_at) = Instant::now();
    }

    pub(super) fn last_used_at(&self) -> Instant {
        *lock(&self.last_used_at)
    }

    pub(super) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// Waits for the refresh that is running, or starts one. All who wait get its result, also an error, so that a store that is out of
    /// reach is not asked once for each of them. The task goes on when nobody waits any more.
    pub(super) fn refresh(&self, start: impl FnOnce() -> JoinHandle<Result<Refreshed, GalleryError>>) -> Refresh {
        let mut refresh = lock(&self.refresh);
        if let Some(running) = refresh.as_ref().filter(|started| !started.task.is_finished()) {
            return running.ended.clone();
        }
        let task = start();
        let ended = |error: tokio::task::JoinError| Err(GalleryError::Unavailable(format!("the task ended: {error}")));
        let handle = task.abort_handle();
        let ended = async move { task.await.unwrap_or_else(ended) }.boxed().shared();
        *refresh = Some(Started { task: handle, ended: ended.clone() });
        ended
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
