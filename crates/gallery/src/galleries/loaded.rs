//! A gallery in memory: reading it, applying changes, searching it.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use super::budget::Reservation;
use super::{Answer, Shared};
use crate::codes::Codes;
use crate::embedding::{Embedding, EmbeddingError};
use crate::seam::{Change, Changes, GalleryError, GalleryKey, Position};

/// Changes of one page.
const PAGE: usize = 1_000;

/// With more changes than this, the gallery is read anew: they would take memory beside it.
const MOST_CHANGES: usize = 10_000;

/// How often a reading that expired begins again.
const MOST_READS: usize = 5;

/// A search of more numbers than this (0.1 ms) does not run on a thread of the async runtime.
const MOST_NUMBERS_INLINE: usize = 1 << 21;

/// How long a new gallery waits for the memory of one that was evicted and is still searched.
const WAIT_FOR_MEMORY: Duration = Duration::from_secs(1);

/// A gallery in memory. Changes are applied under the lock, so a search sees all of them or none.
pub(super) struct Loaded {
    content: Arc<RwLock<Content>>,
}

struct Content {
    codes: Codes,
    position: Position,
    reservation: Reservation,
}

impl Loaded {
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
            match read_pages(shared, key, empty).await? {
                Pages::Complete(content) => return Ok(Some(Self { content: Arc::new(RwLock::new(*content)) })),
                Pages::TooLarge => return Ok(None),
                Pages::Expired => {}
            }
        }
        Err(GalleryError::Unavailable("the gallery is deleted again and again while it is read".to_owned()))
    }

    /// The version of its content; nothing if a change of it failed halfway.
    pub(super) fn version(&self) -> Option<u64> {
        Some(self.content.read().ok()?.position.version)
    }

    /// Applies all changes since its version. Returns `false` if it must be read anew.
    pub(super) async fn update(&self, shared: &Shared, key: &GalleryKey) -> Result<bool, GalleryError> {
        let Some((mut position, vectors, dimensions)) =
            self.content.read().ok().map(|content| (content.position, content.codes.len(), content.codes.dimensions()))
        else {
            return Ok(false);
        };
        let mut all = Vec::new();
        loop {
            let Changes::Page { changes, next, complete } = shared.store.changes(key, &position, PAGE).await? else {
                return Ok(false);
            };
            check(&changes, dimensions)?;
            all.extend(changes);
            position = next;
            if all.len() > MOST_CHANGES {
                return Ok(false);
            }
            if complete {
                break;
            }
        }
        let bytes = Codes::estimate(vectors + all.len(), dimensions);
        // Beside the memory that it has, because searches use it meanwhile.
        let Some(more) = shared.reserve(bytes.saturating_sub(self.reserved()), key).await else {
            return Ok(false);
        };
        self.apply(all, position, more).await
    }

    fn reserved(&self) -> usize {
        self.content.read().map_or(0, |content| content.reservation.bytes())
    }

    /// Waits for the searches that are running, so not on a thread of the async runtime.
    async fn apply(&self, changes: Vec<Change>, position: Position, more: Reservation) -> Result<bool, GalleryError> {
        let content = Arc::clone(&self.content);
        blocking(move || {
            let Ok(mut content) = content.write() else {
                return Ok(false);
            };
            for change in changes {
                content.codes.apply(change).map_err(damaged)?;
            }
            content.position = position;
            content.reservation.absorb(more);
            let bytes = content.codes.bytes();
            Ok(content.reservation.resize(bytes))
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
        let numbers = self.content.read().map_or(0, |content| content.codes.len() * content.codes.dimensions());
        if numbers * queries.len() <= MOST_NUMBERS_INLINE {
            return search(&self.content, queries, k, floor);
        }
        let (content, queries) = (Arc::clone(&self.content), queries.to_vec());
        blocking(move || search(&content, &queries, k, floor)).await
    }
}

impl Codes {
    fn apply(&mut self, change: Change) -> Result<(), EmbeddingError> {
        match change {
            Change::Put(vector) => return self.put(vector),
            Change::Removed(id) => self.remove(&id),
        };
        Ok(())
    }
}

enum Pages {
    Complete(Box<Content>),
    Expired,
    TooLarge,
}

async fn read_pages(shared: &Shared, key: &GalleryKey, mut content: Content) -> Result<Pages, GalleryError> {
    loop {
        let Changes::Page { changes, next, complete } = shared.store.changes(key, &content.position, PAGE).await?
        else {
            return Ok(Pages::Expired);
        };
        // The first vector says the model's length; a query may be wrong.
        if content.position == Position::START
            && let Some(Change::Put(first)) = changes.first()
        {
            content.codes = Codes::new(first.embedding.dimensions());
        }
        for change in changes {
            content.codes.apply(change).map_err(damaged)?;
        }
        content.position = next;
        let bytes = content.codes.bytes();
        if (complete || bytes > content.reservation.bytes()) && !content.reservation.resize(bytes) {
            return Ok(Pages::TooLarge);
        }
        if complete {
            return Ok(Pages::Complete(Box::new(content)));
        }
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
            if !self.evict(key) {
                return None;
            }
            if let Some(reservation) = self.budget.reserve(bytes) {
                return Some(reservation);
            }
            // Its memory is free when the searches that use it end.
            let _ = tokio::time::timeout(WAIT_FOR_MEMORY, self.budget.freed()).await;
        }
    }
}

fn search(content: &RwLock<Content>, queries: &[Embedding], k: usize, floor: f32) -> Result<Vec<Answer>, GalleryError> {
    let failed = || GalleryError::Unavailable("a change of the gallery failed".to_owned());
    let content = content.read().map_err(|_| failed())?;
    let answer = |query| {
        let found =
            content.codes.search(query, k, floor).map_err(|error| GalleryError::WrongQuery(error.to_string()))?;
        let (subjects, version) = (content.codes.subjects() as u64, content.position.version);
        Ok(Answer { matches: found.matches, subjects, version, in_memory: true })
    };
    queries.iter().map(answer).collect()
}

/// Before anything is applied, so that a damaged vector leaves no half of a change.
fn check(changes: &[Change], expected: usize) -> Result<(), GalleryError> {
    for change in changes {
        if let Change::Put(vector) = change
            && vector.embedding.dimensions() != expected
        {
            return Err(damaged(EmbeddingError::WrongLength { expected, found: vector.embedding.dimensions() }));
        }
    }
    Ok(())
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
