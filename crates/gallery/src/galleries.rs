//! The galleries of all tenants: in memory while they are used, within a bound, and never stale.
//!
//! ```text
//! search ─▶ state of the store ─▶ in memory, at this version? ── yes ─▶ search it
//!                  │                        │ no: one task per gallery reads the changes, or all vectors
//!                  └─ too large: the store searches
//! ```
//!
//! Each search compares the version in memory with the store's, so it sees every change that was committed before it began, on
//! every instance. Changes are applied all at once, between searches; none sees a part of them.

mod budget;
mod loaded;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::best::Match;
use crate::codes::Codes;
use crate::embedding::Embedding;
use crate::seam::{GalleryError, GalleryKey, GalleryState, VectorStore};
use budget::Budget;
use loaded::Loaded;
use slot::{Refreshed, Slot};

/// The result of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The best subjects: the most similar first, then the lowest id.
    pub matches: Vec<Match>,
    /// Subjects that were compared.
    pub subjects: u64,
    /// Vectors that were compared, several of some subjects. Times a rate of false matches, it bounds the expected number of
    /// them. If the store searched, negatives are counted too.
    pub vectors: u64,
    /// Version of the gallery that was searched. If the store searched, it may have been a later one.
    pub version: u64,
    /// Whether the gallery was in memory. If not, it is too large, and the store searched.
    pub in_memory: bool,
}

/// Maximum number of searches that run in the store at the same time, for galleries that are too large for memory.
const MAX_IN_STORE: usize = 2;

/// The galleries of all tenants. Clones share them.
#[derive(Clone)]
pub struct Galleries {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn VectorStore>,
    budget: Arc<Budget>,
    slots: Mutex<Slots>,
    /// One permit for each search in the store. Such a search takes long, and the store serves others.
    in_store: Semaphore,
}

#[derive(Default)]
struct Slots {
    by_key: HashMap<GalleryKey, Arc<Slot>>,
    /// Counts uses, for the order of the last ones.
    uses: u64,
}

impl Galleries {
    /// How long a gallery may stay in memory without a search. A face that was deleted in the store is read as deleted with the next
    /// search; without one, it is gone after this time.
    pub const IDLE: Duration = Duration::from_secs(600);

    /// Galleries of this store, which take at most `bound` bytes of memory. The least recently used give way to others; one that does
    /// not fit alone is searched by the store.
    pub fn new(store: Arc<dyn VectorStore>, bound: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                budget: Arc::new(Budget::new(bound)),
                slots: Mutex::default(),
                in_store: Semaphore::new(MAX_IN_STORE),
            }),
        }
    }

    /// Memory that is reserved for galleries, in bytes. Never above the bound.
    pub fn bytes(&self) -> usize {
        self.shared.budget.used()
    }

    /// Version and size of a gallery, from the store.
    ///
    /// # Errors
    /// If the store is out of reach.
    pub async fn state(&self, key: &GalleryKey) -> Result<GalleryState, GalleryError> {
        self.shared.store.state(key).await
    }

    /// Name of the model that compares, from the store; `None` if none was chosen yet.
    ///
    /// # Errors
    /// If the store is out of reach.
    pub async fn active_model(&self) -> Result<Option<String>, GalleryError> {
        self.shared.store.active_model().await
    }

    /// Removes galleries that nobody uses, each minute, as long as the future is polled.
    pub async fn sweep_regularly(&self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(60));
        loop {
            ticks.tick().await;
            self.sweep(Self::IDLE);
        }
    }

    /// Removes the galleries that were not searched for `idle`, usually [`Self::IDLE`]. The program calls it regularly, for example
    /// each minute.
    pub fn sweep(&self, idle: Duration) {
        self.shared.sweep(idle);
    }

    /// Searches a gallery for each query; see [`Codes::search`]. The answers are in the order of the queries and of one version,
    /// unless the store searched. Cancel-safe: a gallery that is being read is read on.
    ///
    /// # Errors
    /// If the store is out of reach or busy, a stored vector is damaged, or a query is of another model.
    pub async fn search(
        &self,
        key: &GalleryKey,
        queries: &[Embedding],
        k: usize,
        floor: f32,
    ) -> Result<Vec<Answer>, GalleryError> {
        let Some(first) = queries.first() else {
            return Ok(Vec::new());
        };
        let state = self.shared.store.state(key).await?;
        if state.vectors == 0 {
            self.shared.forget(key);
            let none = Answer { matches: Vec::new(), subjects: 0, vectors: 0, version: state.version, in_memory: true };
            return Ok(vec![none; queries.len()]);
        }
        let bytes = Codes::estimate(usize::try_from(state.vectors).unwrap_or(usize::MAX), first.dimensions());
        if bytes > self.shared.budget.bound() {
            // It may have been smaller. What was deleted since must not stay in memory.
            self.shared.forget(key);
        } else if let Some(loaded) = self.shared.loaded(key, state.version, first.dimensions()).await? {
            return loaded.search(queries, k, floor).await;
        }
        let _permit = self.shared.in_store.try_acquire().map_err(|_| GalleryError::Busy)?;
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let matches = self.shared.store.search(key, query, k, floor).await?;
            let GalleryState { version, vectors, subjects } = state;
            answers.push(Answer { matches, subjects, vectors, version, in_memory: false });
        }
        Ok(answers)
    }
}

impl Shared {
    /// The gallery at this version or a later one; nothing if it is too large.
    async fn loaded(
        self: &Arc<Self>,
        key: &GalleryKey,
        version: u64,
        dimensions: usize,
    ) -> Result<Option<Arc<Loaded>>, GalleryError> {
        let slot = self.slot(key);
        // A refresh that runs already may have begun before `version`. The one after it has not, so its result is current even if
        // the gallery was deleted meanwhile and its version is lower.
        for _ in 0..2 {
            if let Some(loaded) = slot.loaded()
                && loaded.version().is_some_and(|loaded| loaded >= version)
            {
                return Ok(Some(loaded));
            }
            let start = || tokio::spawn(Arc::clone(self).refresh(key.clone(), Arc::clone(&slot), dimensions));
            match slot.refresh(start).await {
                Ok(Refreshed::InMemory) => {}
                Ok(Refreshed::TooLarge) => return Ok(None),
                Err(error) => {
                    self.failed(key, &slot, &error);
                    return Err(error);
                }
            }
        }
        // It may have given way to another gallery at once. Then the store searches.
        Ok(slot.loaded())
    }

    async fn refresh(
        self: Arc<Self>,
        key: GalleryKey,
        slot: Arc<Slot>,
        dimensions: usize,
    ) -> Result<Refreshed, GalleryError> {
        if let Some(loaded) = slot.loaded()
            && loaded.update(&self, &key).await?
        {
            return Ok(Refreshed::InMemory);
        }
        // Before the new one is read, so that not both take memory.
        slot.clear();
        let Some(loaded) = Loaded::read(&self, &key, dimensions).await? else {
            return Ok(Refreshed::TooLarge);
        };
        slot.set(loaded);
        Ok(Refreshed::InMemory)
    }

    fn slot(&self, key: &GalleryKey) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.uses += 1;
        let uses = slots.uses;
        let slot = slots.by_key.entry(key.clone()).or_insert_with(|| Arc::new(Slot::new()));
        slot.use_at(uses);
        Arc::clone(slot)
    }

    /// Removes the least recently used gallery, but not this one. Returns whether its memory has been given back, which searches that are
    /// running delay; nothing if there is no other.
    fn evict(&self, except: &GalleryKey) -> Option<Arc<AtomicBool>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let others = slots.by_key.iter().filter(|(key, slot)| *key != except && slot.loaded().is_some());
        let key = others.min_by_key(|(_, slot)| slot.last_use()).map(|(key, _)| key.clone())?;
        // A refresh that is running keeps the slot.
        let loaded = slots.by_key.remove(&key)?.clear();
        Some(loaded.map_or_else(|| Arc::new(AtomicBool::new(true)), |loaded| loaded.memory_ended()))
    }

    /// A store out of reach spoils no gallery: when it is back, only the changes are read.
    fn failed(&self, key: &GalleryKey, slot: &Arc<Slot>, error: &GalleryError) {
        if matches!(error, GalleryError::Unavailable(_)) && slot.loaded().is_some() {
            return;
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Another caller may have put a new slot there.
        if slots.by_key.get(key).is_some_and(|known| Arc::ptr_eq(known, slot)) {
            slots.by_key.remove(key);
        }
        drop(slots);
        slot.clear();
    }

    fn sweep(&self, idle: Duration) {
        let now = Instant::now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = slots.by_key.extract_if(|_, slot| now.saturating_duration_since(slot.last_used_at()) >= idle);
        let idle: Vec<Arc<Slot>> = idle.map(|(_, slot)| slot).collect();
        drop(slots);
        for slot in idle {
            slot.clear();
        }
    }

    fn forget(&self, key: &GalleryKey) {
        let slot = self.slots.lock().unwrap_or_else(PoisonError::into_inner).by_key.remove(key);
        if let Some(slot) = slot {
            slot.clear();
        }
    }
}
