//! A change of one gallery, under the lock that gives it its version.

use std::collections::BTreeMap;

use contracts::{SubjectId, VectorId};
use gallery::{GalleryKey, StoredVector, VectorKind};
use jiff::Timestamp;
use uuid::Uuid;

use crate::StoreError;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, unreadable, values};

/// The stored name of a kind.
pub(super) const fn kind_name(kind: VectorKind) -> &'static str {
    match kind {
        VectorKind::Enrolled => "enrolled",
        VectorKind::Negative => "negative",
    }
}

/// The kind in a column.
pub(super) fn kind(row: &Row) -> Result<VectorKind, StoreError> {
    let name: String = row.get("kind")?;
    let known = [VectorKind::Enrolled, VectorKind::Negative].into_iter().find(|known| kind_name(*known) == name);
    known.ok_or_else(|| unreadable("kind of a face vector", &name))
}

/// Numbers of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) enrolled: i64,
    pub(super) negatives: i64,
}

impl Counts {
    pub(super) const fn all(self) -> i64 {
        self.enrolled + self.negatives
    }

    fn of(&mut self, kind: VectorKind) -> &mut i64 {
        match kind {
            VectorKind::Enrolled => &mut self.enrolled,
            VectorKind::Negative => &mut self.negatives,
        }
    }
}

/// A gallery that is locked, with the version that it has after the transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Locked {
    version: i64,
    pub(super) dimensions: usize,
}

impl Locked {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let dimensions = usize::try_from(row.get::<i64>("dimensions")?);
        let dimensions = dimensions.map_err(|error| unreadable("length of face vectors", &error))?;
        Ok(Self { version: row.get("version")?, dimensions })
    }
}

impl Transaction {
    /// Locks a gallery until this transaction ends, and gives it its next version. `None` if it does not exist.
    pub(super) async fn lock_gallery(&mut self, key: &GalleryKey) -> Result<Option<Locked>, StoreError> {
        self.changes_answers_about(&key.tenant);
        let sql = "UPDATE face_galleries SET version = version + 1 WHERE tenant = $1 AND model = $2 \
                   RETURNING version, dimensions";
        self.row(sql, values![&key.tenant, &key.model]).await?.as_ref().map(Locked::read).transpose()
    }

    /// As [`Self::lock_gallery`], of one that is added if it does not exist.
    pub(super) async fn lock_or_create(&mut self, key: &GalleryKey, dimensions: usize) -> Result<Locked, StoreError> {
        match self.lock_gallery(key).await? {
            Some(locked) => Ok(locked),
            None => self.create_gallery(key, dimensions).await,
        }
    }

    /// Locks the creation and the deletion of galleries until this transaction ends. Before a gallery is locked.
    pub(super) async fn lock_deleted_galleries(&mut self) -> Result<(), StoreError> {
        self.execute("UPDATE face_deleted_galleries SET version = version WHERE id = 1", values![]).await.map(drop)
    }

    /// Adds a gallery that does not exist, or locks one that was added meanwhile.
    pub(super) async fn create_gallery(&mut self, key: &GalleryKey, dimensions: usize) -> Result<Locked, StoreError> {
        self.changes_answers_about(&key.tenant);
        // The statement after this one sees the version of a gallery that was deleted meanwhile.
        self.lock_deleted_galleries().await?;
        // Vectors without a gallery are those of one that is being erased.
        let sql = "SELECT id FROM face_vectors WHERE tenant = $1 AND model = $2 \
                   AND NOT EXISTS (SELECT 1 FROM face_galleries WHERE tenant = $1 AND model = $2) LIMIT 1";
        if self.row(sql, values![&key.tenant, &key.model]).await?.is_some() {
            return Err(StoreError::Unavailable(
                "the faces of this tenant are being erased; try again later".to_owned(),
            ));
        }
        let sql = "INSERT INTO face_galleries \
                   (tenant, model, dimensions, version, vectors, subjects, removals_known_after) \
                   SELECT $1, $2, $3, version + 1, 0, 0, version + 1 FROM face_deleted_galleries WHERE id = 1 \
                   ON CONFLICT (tenant, model) DO UPDATE SET version = face_galleries.version + 1 \
                   RETURNING version, dimensions";
        let dimensions = i64::try_from(dimensions).unwrap_or(i64::MAX);
        let row = self.row(sql, values![&key.tenant, &key.model, dimensions]).await?;
        row.as_ref().map_or_else(|| Err(unreadable("version of deleted galleries", &"it is missing")), Locked::read)
    }

    /// The numbers of a subject's vectors in a gallery.
    pub(super) async fn count_vectors(&mut self, key: &GalleryKey, subject: SubjectId) -> Result<Counts, StoreError> {
        let sql = "SELECT count(*) AS vectors, count(*) FILTER (WHERE kind = 'enrolled') AS enrolled FROM face_vectors \
                   WHERE tenant = $1 AND model = $2 AND subject = $3";
        let Some(row) = self.row(sql, values![&key.tenant, &key.model, subject]).await? else {
            return Ok(Counts::default());
        };
        let (vectors, enrolled): (i64, i64) = (row.get("vectors")?, row.get("enrolled")?);
        Ok(Counts { enrolled, negatives: vectors - enrolled })
    }
}

/// A change of a locked gallery. [`Self::finish`] must be its last call.
pub(super) struct GalleryChange<'a> {
    transaction: &'a mut Transaction,
    key: &'a GalleryKey,
    version: i64,
    now: Timestamp,
    /// Numbers of vectors before and after, of the subjects that this change concerns.
    counts: BTreeMap<SubjectId, (Counts, Counts)>,
}

impl<'a> GalleryChange<'a> {
    pub(super) fn new(transaction: &'a mut Transaction, key: &'a GalleryKey, locked: Locked, now: Timestamp) -> Self {
        Self { transaction, key, version: locked.version, now, counts: BTreeMap::new() }
    }

    /// The numbers of a subject's vectors after the change.
    async fn counts(&mut self, subject: SubjectId) -> Result<&mut Counts, StoreError> {
        if !self.counts.contains_key(&subject) {
            let counts = self.transaction.count_vectors(self.key, subject).await?;
            self.counts.insert(subject, (counts, counts));
        }
        Ok(&mut self.counts.entry(subject).or_default().1)
    }

    /// A subject that has more vectors of one kind than this after the change.
    pub(super) fn above(&self, most: i64) -> Option<SubjectId> {
        let mut all = self.counts.iter();
        all.find(|(_, (_, counts))| counts.enrolled.max(counts.negatives) > most).map(|(subject, _)| *subject)
    }

    /// Adds a vector, or replaces that with the same id.
    pub(super) async fn put(&mut self, vector: &StoredVector) -> Result<(), StoreError> {
        if let Some((owner, kind)) = self.owner(vector.id).await? {
            *self.counts(owner).await?.of(kind) -= 1;
        }
        *self.counts(vector.subject).await?.of(vector.kind) += 1;
        let GalleryKey { tenant, model } = self.key;
        let sql = "INSERT INTO face_vectors (tenant, model, id, subject, kind, version, vector) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, model, id) DO UPDATE SET \
                   subject = excluded.subject, kind = excluded.kind, version = excluded.version, vector = excluded.vector";
        let bytes = vector.embedding.to_bytes();
        let kind = kind_name(vector.kind);
        let row = values![tenant, model, vector.id, vector.subject, kind, self.version, &bytes[..]];
        self.transaction.execute(sql, row).await?;
        let sql = "DELETE FROM face_vector_removals WHERE tenant = $1 AND model = $2 AND id = $3";
        self.transaction.execute(sql, values![tenant, model, vector.id]).await.map(drop)
    }

    /// Says what a vector was made of.
    pub(super) async fn set_source(&mut self, id: VectorId, source: &str) -> Result<(), StoreError> {
        let GalleryKey { tenant, model } = self.key;
        let sql = "UPDATE face_vectors SET source = $4 WHERE tenant = $1 AND model = $2 AND id = $3";
        self.transaction.execute(sql, values![tenant, model, id, source]).await.map(drop)
    }

    /// Removes a vector. `false` if there is none with the id.
    pub(super) async fn remove(&mut self, id: VectorId) -> Result<bool, StoreError> {
        let Some((owner, kind)) = self.owner(id).await? else { return Ok(false) };
        *self.counts(owner).await?.of(kind) -= 1;
        let GalleryKey { tenant, model } = self.key;
        let sql = "DELETE FROM face_vectors WHERE tenant = $1 AND model = $2 AND id = $3";
        self.transaction.execute(sql, values![tenant, model, id]).await?;
        let sql =
            "INSERT INTO face_vector_removals (tenant, model, id, version, removed_at) VALUES ($1, $2, $3, $4, $5)";
        self.transaction.execute(sql, values![tenant, model, id, self.version, self.now]).await?;
        Ok(true)
    }

    /// Removes all vectors of a subject. Returns their numbers.
    pub(super) async fn remove_subject(&mut self, subject: SubjectId) -> Result<Counts, StoreError> {
        let removed = std::mem::take(self.counts(subject).await?);
        let GalleryKey { tenant, model } = self.key;
        let sql = "INSERT INTO face_vector_removals (tenant, model, id, version, removed_at) \
                   SELECT tenant, model, id, $4, $5 FROM face_vectors WHERE tenant = $1 AND model = $2 AND subject = $3";
        self.transaction.execute(sql, values![tenant, model, subject, self.version, self.now]).await?;
        let sql = "DELETE FROM face_vectors WHERE tenant = $1 AND model = $2 AND subject = $3";
        self.transaction.execute(sql, values![tenant, model, subject]).await?;
        Ok(removed)
    }

    /// Gives all vectors of a subject to another. Returns their numbers.
    pub(super) async fn move_subject(&mut self, from: SubjectId, into: SubjectId) -> Result<Counts, StoreError> {
        let moved = std::mem::take(self.counts(from).await?);
        let counts = self.counts(into).await?;
        *counts = Counts { enrolled: counts.enrolled + moved.enrolled, negatives: counts.negatives + moved.negatives };
        let GalleryKey { tenant, model } = self.key;
        let sql =
            "UPDATE face_vectors SET subject = $4, version = $5 WHERE tenant = $1 AND model = $2 AND subject = $3";
        self.transaction.execute(sql, values![tenant, model, from, into, self.version]).await?;
        Ok(moved)
    }

    /// Writes the gallery's size.
    pub(super) async fn finish(self) -> Result<(), StoreError> {
        let (mut vectors, mut subjects) = (0, 0);
        for (before, after) in self.counts.values() {
            vectors += after.all() - before.all();
            subjects += i64::from(after.enrolled > 0) - i64::from(before.enrolled > 0);
        }
        let sql = "UPDATE face_galleries SET vectors = vectors + $3, subjects = subjects + $4 WHERE tenant = $1 AND model = $2";
        let row = values![&self.key.tenant, &self.key.model, vectors, subjects];
        self.transaction.execute(sql, row).await.map(drop)
    }

    /// The subject and the kind of a vector.
    async fn owner(&mut self, id: VectorId) -> Result<Option<(SubjectId, VectorKind)>, StoreError> {
        let sql = "SELECT subject, kind FROM face_vectors WHERE tenant = $1 AND model = $2 AND id = $3";
        let row = self.transaction.row(sql, values![&self.key.tenant, &self.key.model, id]).await?;
        row.map(|row| Ok((SubjectId::from_uuid(row.get::<Uuid>("subject")?), kind(&row)?))).transpose()
    }
}
