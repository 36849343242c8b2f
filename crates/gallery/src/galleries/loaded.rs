//! A gallery in memory: reading it, applying changes, searching it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Reservation;
use super::{Answer, Shared};
use crate::codes::{Codes, Prepared};
use crate::embedding::{Embedding, EmbeddingError};
use crate::seam::{Change, Changes, GalleryError, GalleryKey, Position};
use crate::stored_vector::VectorKind;

/// Changes of one page.
const PAGE: usize = 1_000;

/// With more changes than this, the whole gallery is read again: they would take memory beside it.
const MOST_CHANGES: usize = 10_000;

/// How often a reading that expired begins again.
const MOST_READS: usize = 5;

/// A search of more numbers than this (0.1 ms) does not run on a thread of the async runtime.
const MOST_NUMBERS_INLINE: usize = 1 << 21;

/// How long a new gallery waits for the memory of one that was evicted and is still searched.
const WAIT_FOR_MEMORY: Duration = Duration::from_secs(1);

/// A gallery in memory. Changes are applied under the lock, so a search sees all of them or none. No thread of the async runtime waits for
/// the lock.
pub(super) struct Loaded {
    content: Arc<RwLock<Content>>,
    /// A copy of what is known of the content, held only while it is copied.
    summary: Arc<Mutex<Summary>>,
    memory_ended: Arc<AtomicBool>,
}

struct Content {
    codes: Codes,
    position: Position,
    reservation: Reservation,
}

#[derive(Clone, Copy)]
struct Summary {
    position: Position,
    /// Numbers of all vectors: what a search reads.
    numbers: usize,
    dimensions: usize,
}

impl Content {
    fn summary(&self) -> Summary {
        let dimensions = self.codes.dimensions();
        Summary { position: self.position, numbers: self.codes.len() * dimensions, dimensions }
    }
}

impl Loaded {
    fn new(content: Content) -> Self {
        Self {
            summary: Arc::new(Mutex::new(content.summary())),
            memory_ended: content.reservation.ended(),
            content: Arc::new(RwLock::new(content)),
        }
    }

    /// Reads a gallery from the beginning; nothing if it does not fit.
    pub(super) async fn read(
        shared: &Shared,
        key: &GalleryKey,
        dimensions: usize,
    ) -> Result<Option<Self>, GalleryError> {
        for _ in 0..MOST_READS {
            let vectors = usize::try_from(shared.store.state(key).await?.vectors).unwrap_or(usize::MAX);
            let Some(reservation) = shared.reserve(Codes::estimate(vectors, dimensions), key).await else {
                return Ok(None);
            };
            let empty = Content { codes: Codes::new(dimensions), position: Position::START, reservation };
            match read_pages(shared, key, empty, vectors).await? {
                Pages::Complete(content) => return Ok(Some(Self::new(*content))),
                Pages::TooLarge => return Ok(None),
                Pages::Expired => {}
            }
        }
        let reads = format!("the gallery was deleted during each of {MOST_READS} attempts to read it");
        Err(GalleryError::Unavailable(reads))
    }

    /// The version of its content; nothing if a change of it failed halfway.
    pub(super) fn version(&self) -> Option<u64> {
        (!self.content.is_poisoned()).then(|| self.summary().position.version)
    }

    /// Becomes true when its memory has been given back.
    pub(super) fn memory_ended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.memory_ended)
    }

    fn summary(&self) -> Summary {
        *self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies all changes since its version. Returns `false` if the whole gallery must be read again.
    pub(super) async fn update(&self, shared: &Shared, key: &GalleryKey) -> Result<bool, GalleryError> {
        if self.content.is_poisoned() {
            return Ok(false);
        }
        let Summary { mut position, dimensions, .. } = self.summary();
        let mut all = Vec::new();
        loop {
            let Changes::Page { changes, next, complete } = shared.store.changes(key, &position, PAGE).await? else {
                return Ok(false);
            };
            all.extend(prepare(changes, dimensions).await?);
            position = next;
            if all.len() > MOST_CHANGES {
                return Ok(false);
            }
            if complete {
                break;
            }
        }
        let (vectors, negatives) = additions(&all);
        let content = Arc::clone(&self.content);
        let missing = blocking(move || {
            let content = content.read().map_err(|_| change_failed())?;
            Ok(content.codes.bytes_with(vectors, negatives).saturating_sub(content.reservation.bytes()))
        });
        // Beside the memory that it has, because searches use it meanwhile.
        let Some(more) = shared.reserve(missing.await?, key).await else {
            return Ok(false);
        };
        self.apply(all, position, more).await
    }

    /// Waits for the searches that are running, so not on a thread of the async runtime. Codes are computed before, so the lock
    /// is held only while they are copied: some microseconds for each change.
    async fn apply(&self, changes: Vec<Step>, position: Position, more: Reservation) -> Result<bool, GalleryError> {
        let (content, summary) = (Arc::clone(&self.content), Arc::clone(&self.summary));
        blocking(move || {
            let Ok(mut content) = content.write() else {
                return Ok(false);
            };
            content.reservation.absorb(more);
            content.codes.reserve(additions(&changes).0);
            for change in changes {
                content.codes.apply(change);
            }
            content.position = position;
            let bytes = content.codes.bytes();
            let fits = content.reservation.resize(bytes);
            *summary.lock().unwrap_or_else(PoisonError::into_inner) = content.summary();
            Ok(fits)
        })
        .await
    }

    /// Searches for each query; all see the same version.
    pub(super) async fn search(
        &self,
        queries: &[Embedding],
        k: usize,
        floor: f32,
    ) -> Result<Vec<Answer>, GalleryError> {
        if self.summary().numbers.saturating_mul(queries.len()) <= MOST_NUMBERS_INLINE {
            match self.content.try_read() {
                Ok(content) => return search(&content, queries, k, floor),
                Err(TryLockError::Poisoned(_)) => return Err(change_failed()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let (content, queries) = (Arc::clone(&self.content), queries.to_vec());
        blocking(move || {
            let content = content.read().map_err(|_| change_failed())?;
            search(&content, &queries, k, floor)
        })
        .await
    }
}

/// A change that is ready to be applied.
enum Step {
    Put(Box<Prepared>),
    Remove(contracts::VectorId),
}

impl Codes {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Put(prepared) => self.put_prepared(*prepared),
            Step::Remove(id) => {
                self.remove(&id);
            }
        }
    }
}

/// How many enrolled vectors and how many negatives are put.
fn additions(steps: &[Step]) -> (usize, usize) {
    let kind = |step: &Step| match step {
        Step::Put(prepared) => Some(prepared.kind()),
        Step::Remove(_) => None,
    };
    let count = |wanted: VectorKind| steps.iter().filter(|step| kind(step) == Some(wanted)).count();
    (count(VectorKind::Enrolled), count(VectorKind::Negative))
}

/// Computes codes. Fails before anything is applied, so that a damaged vector leaves no half of a change.
async fn prepare(changes: Vec<Change>, dimensions: usize) -> Result<Vec<Step>, GalleryError> {
    let step = move |change| match change {
        Change::Put(vector) => Ok(Step::Put(Box::new(Prepared::of(vector, dimensions).map_err(damaged)?))),
        Change::Removed(id) => Ok(Step::Remove(id)),
    };
    blocking(move || changes.into_iter().map(step).collect()).await
}

enum Pages {
    Complete(Box<Content>),
    Expired,
    TooLarge,
}

async fn read_pages(
    shared: &Shared,
    key: &GalleryKey,
    mut content: Content,
    vectors: usize,
) -> Result<Pages, GalleryError> {
    loop {
        let Changes::Page { changes, next, complete } = shared.store.changes(key, &content.position, PAGE).await?
        else {
            return Ok(Pages::Expired);
        };
        if content.position == Position::START {
            // The first vector says the model's length; a query may be wrong.
            if let Some(Change::Put(first)) = changes.first() {
                content.codes = Codes::new(first.embedding.dimensions());
            }
            // At once, because growth copies: for a moment, the old memory and the new would be in use.
            if !content.make_room(vectors, 0) {
                return Ok(Pages::TooLarge);
            }
            content.codes.reserve(vectors);
        }
        let steps = prepare(changes, content.codes.dimensions()).await?;
        let (enrolled, negatives) = additions(&steps);
        if !content.make_room(enrolled, negatives) {
            return Ok(Pages::TooLarge);
        }
        content = blocking(move || {
            steps.into_iter().for_each(|step| content.codes.apply(step));
            content.position = next;
            if complete {
                content.codes.shrink();
            }
            Ok(content)
        })
        .await?;
        if complete {
            let bytes = content.codes.bytes();
            let fits = content.reservation.resize(bytes);
            return Ok(if fits { Pages::Complete(Box::new(content)) } else { Pages::TooLarge });
        }
    }
}

impl Content {
    /// Reserves memory for further vectors and negatives if there is not enough. Returns `false` if it is not free.
    fn make_room(&mut self, vectors: usize, negatives: usize) -> bool {
        let bytes = self.codes.bytes_with(vectors, negatives);
        bytes <= self.reservation.bytes() || self.reservation.resize(bytes)
    }
}

impl Shared {
    /// Reserves memory for this gallery; others give way.
    async fn reserve(&self, bytes: usize, key: &GalleryKey) -> Option<Reservation> {
        if bytes > self.budget.bound() {
            return None;
        }
        loop {
            if let Some(reservation) = self.budget.reserve(bytes) {
                return Some(reservation);
            }
            let ended = self.evict(key)?;
            // Its memory is free when the searches that use it end. Until then, no other gallery gives way.
            let deadline = Instant::now() + WAIT_FOR_MEMORY;
            loop {
                let mut freed = pin!(self.budget.freed());
                freed.as_mut().enable();
                if let Some(reservation) = self.budget.reserve(bytes) {
                    return Some(reservation);
                }
                if ended.load(Ordering::SeqCst) || tokio::time::timeout_at(deadline, freed).await.is_err() {
                    break;
                }
            }
        }
    }
}

fn search(content: &Content, queries: &[Embedding], k: usize, floor: f32) -> Result<Vec<Answer>, GalleryError> {
    let answer = |query| {
        let found =
            content.codes.search(query, k, floor).map_err(|error| GalleryError::WrongQuery(error.to_string()))?;
        let (subjects, vectors) = (content.codes.subjects() as u64, content.codes.len() as u64);
        Ok(Answer { matches: found.matches, subjects, vectors, version: content.position.version, in_memory: true })
    };
    queries.iter().map(answer).collect()
}

fn change_failed() -> GalleryError {
    GalleryError::Unavailable("a change of the gallery failed".to_owned())
}

#[expect(clippy::needless_pass_by_value, reason = "passed to map_err")]
fn damaged(error: EmbeddingError) -> GalleryError {
    GalleryError::Damaged(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GalleryError> + Send + 'static,
) -> Result<T, GalleryError> {
    let ended = |error: tokio::task::JoinError| Err(GalleryError::Unavailable(format!("the task ended: {error}")));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(ended)
}
