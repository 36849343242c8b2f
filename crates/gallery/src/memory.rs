//! A store of vectors in memory, for tests.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use contracts::{SubjectId, VectorId};

use crate::best::Match;
use crate::codes::Codes;
use crate::embedding::Embedding;
use crate::seam::{Change, Changes, GalleryError, GalleryKey, GalleryState, Position, VectorStore};
use crate::stored_vector::{StoredVector, VectorKind};
use crate::suite::Writer;

/// Vectors in memory.
#[derive(Debug, Default)]
pub struct MemoryVectors {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The last version of any gallery. One sequence for all, so that no version returns.
    version: u64,
    galleries: HashMap<GalleryKey, Gallery>,
    active_model: Option<String>,
    down: bool,
}

#[derive(Debug, Default)]
struct Gallery {
    version: u64,
    /// Removals up to this version are forgotten.
    forgotten: u64,
    /// Version of the latest change of each vector; `None` where it was removed.
    rows: BTreeMap<VectorId, (u64, Option<StoredVector>)>,
}

impl Gallery {
    fn vectors(&self) -> impl Iterator<Item = &StoredVector> {
        self.rows.values().filter_map(|(_, vector)| vector.as_ref())
    }
}

impl MemoryVectors {
    /// Makes every read fail as if the database were out of reach, or work again.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Says which model compares.
    pub fn set_active_model(&self, model: &str) {
        self.lock().active_model = Some(model.to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> Result<MutexGuard<'_, Inner>, GalleryError> {
        let inner = self.lock();
        if inner.down { Err(GalleryError::Unavailable("it was taken down".to_owned())) } else { Ok(inner) }
    }

    fn change(&self, gallery: &GalleryKey, change: impl FnOnce(&mut Gallery, u64)) {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version;
        // A reader of a deleted gallery of this name must read this one from the beginning.
        let new = || Gallery { forgotten: version, ..Gallery::default() };
        let gallery = inner.galleries.entry(gallery.clone()).or_insert_with(new);
        gallery.version = version;
        change(gallery, version);
    }
}

#[async_trait]
impl Writer for MemoryVectors {
    async fn put(&self, gallery: &GalleryKey, vectors: Vec<StoredVector>) {
        self.change(gallery, |gallery, version| {
            gallery.rows.extend(vectors.into_iter().map(|vector| (vector.id, (version, Some(vector)))));
        });
    }

    async fn remove(&self, gallery: &GalleryKey, vectors: &[VectorId]) {
        self.change(gallery, |gallery, version| {
            gallery.rows.extend(vectors.iter().map(|vector| (*vector, (version, None))));
        });
    }

    async fn remove_subject(&self, gallery: &GalleryKey, subject: &SubjectId) {
        self.change(gallery, |gallery, version| {
            for row in gallery.rows.values_mut() {
                if row.1.as_ref().is_some_and(|vector| vector.subject == *subject) {
                    *row = (version, None);
                }
            }
        });
    }

    async fn forget_removals(&self, gallery: &GalleryKey) {
        if let Some(gallery) = self.lock().galleries.get_mut(gallery) {
            gallery.forgotten = gallery.version;
            gallery.rows.retain(|_, (_, vector)| vector.is_some());
        }
    }

    async fn erase(&self, gallery: &GalleryKey) {
        self.lock().galleries.remove(gallery);
    }
}

#[async_trait]
impl VectorStore for MemoryVectors {
    async fn state(&self, gallery: &GalleryKey) -> Result<GalleryState, GalleryError> {
        let inner = self.read()?;
        let Some(gallery) = inner.galleries.get(gallery) else {
            return Ok(GalleryState::default());
        };
        let enrolled = gallery.vectors().filter(|vector| vector.kind == VectorKind::Enrolled);
        let subjects: std::collections::HashSet<SubjectId> = enrolled.map(|vector| vector.subject).collect();
        Ok(GalleryState {
            version: gallery.version,
            vectors: gallery.vectors().count() as u64,
            subjects: subjects.len() as u64,
        })
    }

    async fn changes(&self, gallery: &GalleryKey, after: &Position, limit: usize) -> Result<Changes, GalleryError> {
        let inner = self.read()?;
        let none = Gallery::default();
        let gallery = inner.galleries.get(gallery).unwrap_or(&none);
        let start = *after == Position::START;
        let deleted = gallery.version < after.version;
        if !start && (deleted || gallery.forgotten > after.began) {
            return Ok(Changes::Expired);
        }
        let began = if start { gallery.version } else { after.began };
        let mut rows: Vec<(u64, VectorId, &Option<StoredVector>)> =
            gallery.rows.iter().map(|(id, (version, vector))| (*version, *id, vector)).collect();
        rows.retain(|(version, id, vector)| {
            (*version, *id) > (after.version, after.vector) && (vector.is_some() || *version > began)
        });
        rows.sort_unstable_by_key(|(version, id, _)| (*version, *id));
        let complete = rows.len() <= limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some((version, vector, _)) if !complete => Position { began, version: *version, vector: *vector },
            _ => Position::end_of(gallery.version),
        };
        let change = |(_, id, vector): (u64, VectorId, &Option<StoredVector>)| match vector {
            Some(vector) => Change::Put(vector.clone()),
            None => Change::Removed(id),
        };
        Ok(Changes::Page { changes: rows.into_iter().map(change).collect(), next, complete })
    }

    async fn active_model(&self) -> Result<Option<String>, GalleryError> {
        Ok(self.read()?.active_model.clone())
    }

    async fn search(
        &self,
        gallery: &GalleryKey,
        query: &Embedding,
        k: usize,
        floor: f32,
    ) -> Result<Vec<Match>, GalleryError> {
        let inner = self.read()?;
        let mut codes = Codes::new(query.dimensions());
        for vector in inner.galleries.get(gallery).into_iter().flat_map(Gallery::vectors) {
            codes.put(vector.clone()).map_err(|error| GalleryError::WrongQuery(error.to_string()))?;
        }
        let found = codes.search(query, k, floor).map_err(|error| GalleryError::WrongQuery(error.to_string()))?;
        Ok(found.matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! contract {
        ($($test:ident),* $(,)?) => {
            $(
                #[tokio::test]
                async fn $test() {
                    let store = MemoryVectors::default();
                    crate::suite::$test(&store, &store).await;
                }
            )*
        };
    }
    crate::for_each_vector_store_test!(contract);
}
