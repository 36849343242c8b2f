//! The galleries, as the matching reads them.

use std::time::Duration;

use async_trait::async_trait;
use contracts::{SubjectId, VectorId};
use gallery::{
    Change, Changes, Embedding, EmbeddingError, GalleryError, GalleryKey, GalleryState, Match, OrderedSearch, Position,
    StoredVector, VectorStore,
};
use uuid::Uuid;

use super::gallery_change::kind;
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

/// Vectors that a search reads at once: at most 4 MB.
const PAGE: i64 = 1_000;
/// Time limit of a search, which may read all vectors of a gallery. Each of its statements has a limit of its own.
const SEARCH_LIMIT: Duration = Duration::from_secs(30);

/// What the row of a gallery says.
#[derive(Clone, Copy)]
pub(super) struct KnownGallery {
    state: GalleryState,
    removals_known_after: u64,
    pub(super) dimensions: usize,
}

impl KnownGallery {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let number = |column| Ok::<u64, StoreError>(row.get::<i64>(column)?.unsigned_abs());
        let state =
            GalleryState { version: number("version")?, vectors: number("vectors")?, subjects: number("subjects")? };
        // Embeddings have at most a thousand numbers.
        let dimensions = usize::try_from(number("dimensions")?).unwrap_or_default();
        Ok(Self { state, removals_known_after: number("removals_known_after")?, dimensions })
    }

    /// Refuses a query of another length than the vectors.
    pub(super) fn check(&self, query: &Embedding) -> Result<(), GalleryError> {
        let (expected, found) = (self.dimensions, query.dimensions());
        if found == expected {
            return Ok(());
        }
        Err(GalleryError::WrongQuery(EmbeddingError::WrongLength { expected, found }.to_string()))
    }
}

const GALLERY: &str = "SELECT version, vectors, subjects, dimensions, removals_known_after FROM face_galleries \
                       WHERE tenant = $1 AND model = $2";

#[async_trait]
impl VectorStore for Relational {
    async fn state(&self, gallery: &GalleryKey) -> Result<GalleryState, GalleryError> {
        let row = self.row(GALLERY, values![&gallery.tenant, &gallery.model]).await.map_err(unavailable)?;
        let known = row.as_ref().map(KnownGallery::read).transpose().map_err(damaged)?;
        Ok(known.map_or_else(GalleryState::default, |known| known.state))
    }

    async fn changes(&self, gallery: &GalleryKey, after: &Position, limit: usize) -> Result<Changes, GalleryError> {
        let mut snapshot = self.begin_snapshot().await.map_err(unavailable)?;
        let known = snapshot.gallery(gallery).await?;
        let (version, forgotten) = known.map_or((0, 0), |known| (known.state.version, known.removals_known_after));
        let is_start = *after == Position::START;
        if !is_start && (version < after.version || forgotten > after.began) {
            return Ok(Changes::Expired);
        }
        let Some(KnownGallery { dimensions, .. }) = known else {
            return Ok(Changes::Page { changes: Vec::new(), next: Position::end_of(0), complete: true });
        };
        let began = if is_start { version } else { after.began };
        // One more says that this page is not the last.
        let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut rows = snapshot.changed(gallery, after, wanted, dimensions).await?;
        rows.extend(snapshot.removed(gallery, after, began, wanted).await?);
        rows.sort_unstable_by_key(|(version, id, _)| (*version, *id));
        let complete = rows.len() <= limit;
        rows.truncate(limit);
        let next = match rows.last() {
            Some((version, vector, _)) if !complete => Position { began, version: *version, vector: *vector },
            _ => Position::end_of(version),
        };
        Ok(Changes::Page { changes: rows.into_iter().map(|(_, _, change)| change).collect(), next, complete })
    }

    async fn active_model(&self) -> Result<Option<String>, GalleryError> {
        let models = self.face_models().await.map_err(unavailable)?;
        Ok(models.map(|models| models.active))
    }

    async fn search(
        &self,
        gallery: &GalleryKey,
        query: &Embedding,
        k: usize,
        floor: f32,
    ) -> Result<Vec<Match>, GalleryError> {
        let search = async {
            match self.search_in_postgres(gallery, query, k, floor).await? {
                Some(found) => Ok(found),
                None => self.search_in_program(gallery, query, k, floor).await,
            }
        };
        let limit = || GalleryError::Unavailable(format!("a search took more than {} s", SEARCH_LIMIT.as_secs()));
        tokio::time::timeout(SEARCH_LIMIT, search).await.map_err(|_| limit())?
    }
}

impl Relational {
    /// Compares the query with every vector, which it reads in pages of one snapshot. [`VectorStore::search`] does so only where PostgreSQL
    /// cannot search.
    ///
    /// # Errors
    /// As those of [`VectorStore::search`].
    pub async fn search_in_program(
        &self,
        key: &GalleryKey,
        query: &Embedding,
        k: usize,
        floor: f32,
    ) -> Result<Vec<Match>, GalleryError> {
        let mut snapshot = self.begin_snapshot().await.map_err(unavailable)?;
        let Some(known_gallery) = snapshot.gallery(key).await? else { return Ok(Vec::new()) };
        known_gallery.check(query)?;
        let mut search = OrderedSearch::new(query, k, floor);
        let (mut subject, mut id, mut known) = (Uuid::nil(), Uuid::nil(), 0);
        loop {
            // All vectors of a subject come in a row. Each page begins with the last vector of the one before it.
            let sql = "SELECT id, subject, kind, vector FROM face_vectors WHERE tenant = $1 AND model = $2 \
                       AND (subject, id) >= ($3, $4) ORDER BY subject, id LIMIT $5";
            let values = values![&key.tenant, &key.model, subject, id, PAGE];
            let rows = snapshot.rows(sql, values).await.map_err(unavailable)?;
            for row in rows.iter().skip(known) {
                let vector = stored_vector(row, known_gallery.dimensions)?;
                (subject, id) = (vector.subject.uuid(), vector.id.uuid());
                search.compare(&vector).map_err(|error| GalleryError::Damaged(error.to_string()))?;
            }
            if rows.len() < PAGE as usize {
                return Ok(search.finish());
            }
            known = 1;
        }
    }
}

type Changed = (u64, VectorId, Change);

impl Transaction {
    /// The row of a gallery.
    pub(super) async fn gallery(&mut self, key: &GalleryKey) -> Result<Option<KnownGallery>, GalleryError> {
        let row = self.row(GALLERY, values![&key.tenant, &key.model]).await.map_err(unavailable)?;
        row.as_ref().map(KnownGallery::read).transpose().map_err(damaged)
    }

    /// Vectors that were put after a position.
    async fn changed(
        &mut self,
        key: &GalleryKey,
        after: &Position,
        limit: i64,
        dimensions: usize,
    ) -> Result<Vec<Changed>, GalleryError> {
        let sql = "SELECT id, subject, kind, vector, version FROM face_vectors WHERE tenant = $1 AND model = $2 \
                   AND (version, id) > ($3, $4) ORDER BY version, id LIMIT $5";
        let values = values![&key.tenant, &key.model, stored(after.version), after.vector, limit];
        let rows = self.rows(sql, values).await.map_err(unavailable)?;
        let change = |row: &Row| {
            let vector = stored_vector(row, dimensions)?;
            Ok((version(row)?, vector.id, Change::Put(vector)))
        };
        rows.iter().map(change).collect()
    }

    /// Vectors that were removed after a position, and after the reading began.
    async fn removed(
        &mut self,
        key: &GalleryKey,
        after: &Position,
        began: u64,
        limit: i64,
    ) -> Result<Vec<Changed>, GalleryError> {
        let sql = "SELECT id, version FROM face_vector_removals WHERE tenant = $1 AND model = $2 \
                   AND (version, id) > ($3, $4) AND version > $5 ORDER BY version, id LIMIT $6";
        let values = values![&key.tenant, &key.model, stored(after.version), after.vector, stored(began), limit];
        let rows = self.rows(sql, values).await.map_err(unavailable)?;
        let change = |row: &Row| {
            let id = VectorId::from_uuid(row.get("id").map_err(damaged)?);
            Ok((version(row)?, id, Change::Removed(id)))
        };
        rows.iter().map(change).collect()
    }
}

/// A vector of a model whose vectors have `dimensions` numbers.
pub(super) fn stored_vector(row: &Row, dimensions: usize) -> Result<StoredVector, GalleryError> {
    let id = VectorId::from_uuid(row.get("id").map_err(damaged)?);
    let bytes: Vec<u8> = row.get("vector").map_err(damaged)?;
    let embedding = Embedding::from_bytes(&bytes, dimensions);
    let embedding = embedding.map_err(|error| GalleryError::Damaged(format!("vector {id}: {error}")))?;
    let subject = SubjectId::from_uuid(row.get("subject").map_err(damaged)?);
    Ok(StoredVector { id, subject, kind: kind(row).map_err(damaged)?, embedding })
}

fn version(row: &Row) -> Result<u64, GalleryError> {
    Ok(row.get::<i64>("version").map_err(damaged)?.unsigned_abs())
}

fn stored(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// The error for a statement that failed.
pub(super) fn unavailable(error: StoreError) -> GalleryError {
    GalleryError::Unavailable(message(error))
}

/// The error of a transaction that read vectors.
pub(super) fn store_error(error: GalleryError) -> StoreError {
    match error {
        GalleryError::Unavailable(cause) => StoreError::Unavailable(cause),
        other => StoreError::Fatal(other.to_string()),
    }
}

/// The error for a value that cannot be read.
fn damaged(error: StoreError) -> GalleryError {
    GalleryError::Damaged(message(error))
}

fn message(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(message)
        | StoreError::DiskFull(message)
        | StoreError::Misconfigured(message)
        | StoreError::Fatal(message) => message,
    }
}
