//! Search in a book by meaning: the sentences of its transcript that are closest to what is asked for, each with its second.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api_kit::error::{ApiError, ServiceError};
use contracts::BookId;
use contracts::api::PassageView;
use shop::ShopError;
use store::relational::Relational;
use text::{Embedding, PASSAGES, Passage, TextError, closest, passages_of};
use tokio::sync::Semaphore;

use super::App;
use crate::Viewer;
use crate::error::refused;

/// Longest text that is searched for, in characters.
pub const MAX_SEARCHED: usize = 300;
/// Places, if the client names no number.
pub const DEFAULT_PASSAGES: u32 = 10;
/// Most places.
pub const MAX_PASSAGES: u32 = 50;
/// Bytes of all passages in memory. A book of ten hours has some nine MiB.
const CACHED: usize = 64 << 20;
/// Books that are read into memory at the same time.
const LOADS: usize = 2;
/// Parts that are read at once.
const PARTS: u32 = 32;

/// The passages of a book: of one run of its pipeline, so that they never change.
type BookPassages = Arc<[Passage]>;

/// Passages in memory, those that were used last at the end.
pub struct PassageCache {
    books: Mutex<Vec<Cached>>,
    loads: Semaphore,
}

struct Cached {
    book: BookId,
    generation: u32,
    bytes: usize,
    passages: BookPassages,
}

impl Default for PassageCache {
    fn default() -> Self {
        Self { books: Mutex::default(), loads: Semaphore::new(LOADS) }
    }
}

impl PassageCache {
    /// The passages of a book, from memory or from the database.
    async fn passages(&self, database: &Relational, book: BookId, generation: u32) -> Result<BookPassages, ApiError> {
        if let Some(passages) = self.cached(book, generation) {
            return Ok(passages);
        }
        let _load = self.loads.acquire().await.map_err(|_| ServiceError::Busy)?;
        // Another search may have read it meanwhile.
        if let Some(passages) = self.cached(book, generation) {
            return Ok(passages);
        }
        let passages = read(database, book, generation).await?;
        self.keep(book, generation, &passages);
        Ok(passages)
    }

    fn cached(&self, book: BookId, generation: u32) -> Option<BookPassages> {
        let mut books = self.books();
        let index = books.iter().position(|known| known.book == book && known.generation == generation)?;
        let used = books.remove(index);
        let passages = Arc::clone(&used.passages);
        books.push(used);
        Some(passages)
    }

    fn keep(&self, book: BookId, generation: u32, passages: &BookPassages) {
        let bytes: usize = passages.iter().map(size_of_passage).sum();
        if bytes > CACHED {
            return;
        }
        let mut books = self.books();
        // An earlier run is not searched any more.
        books.retain(|known| known.book != book);
        let mut all: usize = books.iter().map(|known| known.bytes).sum();
        while all + bytes > CACHED && !books.is_empty() {
            all -= books.remove(0).bytes;
        }
        books.push(Cached { book, generation, bytes, passages: Arc::clone(passages) });
    }

    fn books(&self) -> MutexGuard<'_, Vec<Cached>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes that a passage has in memory.
fn size_of_passage(passage: &Passage) -> usize {
    size_of::<Passage>() + passage.text.len() + text::DIMENSIONS * size_of::<f32>()
}

async fn read(database: &Relational, book: BookId, generation: u32) -> Result<BookPassages, ApiError> {
    let (mut passages, mut from) = (Vec::new(), 0);
    loop {
        let parts = database.text_parts(book, generation, PASSAGES, from, PARTS).await?;
        let count = u32::try_from(parts.len()).unwrap_or(PARTS);
        for part in parts {
            let damaged = || ServiceError::Internal(anyhow::anyhow!("the passages of the book {book} cannot be read"));
            passages.extend(passages_of(&part).ok_or_else(damaged)?);
        }
        if count < PARTS {
            return Ok(passages.into());
        }
        from += count;
    }
}

impl App {
    /// The places of a book that are closest to a text, the closest first.
    ///
    /// # Errors
    /// When the viewer has not bought the book, it has no transcript yet, the text is too long, or the pipeline is off.
    pub async fn search(
        &self,
        viewer: &Viewer,
        id: BookId,
        words: String,
        count: u32,
    ) -> Result<Vec<PassageView>, ApiError> {
        let pipeline = self.pipeline("search in a book")?;
        if words.chars().count() > MAX_SEARCHED {
            let reason = format!("it has at most {MAX_SEARCHED} characters");
            return Err(refused(ShopError::invalid("q", reason)));
        }
        self.shop.heard(&viewer.shop(), id).await.map_err(refused)?;
        let database = pipeline.pipelines.database();
        let generation = database.pipeline(id).await?.and_then(|known| known.texts);
        let generation = generation.ok_or_else(|| refused(ShopError::NoTranscript))?;
        let passages = pipeline.passages.passages(database, id, generation).await?;
        let meanings = pipeline.embeddings.embed(vec![words]).await.map_err(not_embedded)?;
        let Some(meaning) = meanings.into_iter().next() else { return Ok(Vec::new()) };
        let searching = tokio::task::spawn_blocking(move || views(&passages, &meaning, count));
        Ok(searching.await.map_err(|error| ServiceError::Internal(error.into()))?)
    }
}

fn views(passages: &[Passage], meaning: &Embedding, count: u32) -> Vec<PassageView> {
    let found = closest(passages, meaning, usize::try_from(count).unwrap_or(usize::MAX));
    let view = |(passage, score): (&Passage, f32)| PassageView {
        start_ms: passage.start_ms,
        end_ms: passage.end_ms,
        text: passage.text.clone(),
        score,
    };
    found.into_iter().map(view).collect()
}

/// Why the text that is searched for has no embedding.
fn not_embedded(error: TextError) -> ApiError {
    match error {
        TextError::Busy => ServiceError::Busy.into(),
        // The operator's log says which model to fetch.
        error => ServiceError::Unavailable(error.to_string()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passages(count: usize) -> BookPassages {
        let embedding = Embedding::zero();
        let passage = Passage { start_ms: 0, end_ms: 1, text: "a".to_owned(), embedding };
        vec![passage; count].into()
    }

    #[test]
    fn the_passages_that_were_used_least_recently_give_way() {
        let cache = PassageCache::default();
        let (one, two, three) = (BookId::now(), BookId::now(), BookId::now());
        // Two of them fit.
        let many = passages(CACHED / size_of_passage(&passages(1)[0]) * 2 / 5);
        cache.keep(one, 1, &many);
        cache.keep(two, 1, &many);
        assert!(cache.cached(one, 1).is_some());
        cache.keep(three, 1, &many);
        assert!(cache.cached(one, 1).is_some() && cache.cached(three, 1).is_some());
        assert!(cache.cached(two, 1).is_none());
        cache.keep(one, 2, &many);
        assert!(cache.cached(one, 1).is_none() && cache.cached(one, 2).is_some());
    }
}
