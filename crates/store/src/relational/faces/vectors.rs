//! Vectors of subjects: adding, removing, reading those of one subject.

use std::collections::BTreeSet;

use contracts::{SubjectId, TenantId, VectorId};
use gallery::{GalleryError, GalleryKey, StoredVector};
use jiff::Timestamp;

use super::gallery_change::{GalleryChange, Locked};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::values;

/// Maximum number of vectors of a subject for one model, and of its negatives.
pub const MAX_VECTORS_OF_SUBJECT: u32 = 100;
/// Maximum number of vectors that one call writes. Whoever else writes to the gallery waits until it ends: with 500, PostgreSQL refused some
/// of them after the limit of a statement.
pub const MAX_VECTORS_AT_ONCE: usize = 100;

/// The outcome of writing vectors. Nothing was written, if it is not `Stored`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorWriteOutcome {
    /// All are stored.
    Stored,
    /// The tenant has no subject with this id.
    UnknownSubject(SubjectId),
    /// This subject would have more than [`MAX_VECTORS_OF_SUBJECT`].
    TooMany(SubjectId),
    /// There are more than [`MAX_VECTORS_AT_ONCE`].
    TooManyAtOnce,
    /// This subject has no valid consent.
    NoConsent(SubjectId),
    /// A vector has another length than the model's vectors, which have this many numbers.
    WrongLength(usize),
    /// The model is not the active one any more, or it is being changed to another one than the caller knew.
    ModelChanged,
}

/// Which model must be the active one for a write.
#[derive(Debug, Clone, Copy)]
enum Needed<'a> {
    /// Any.
    Any,
    /// That of the gallery, and being changed to this one.
    ActiveWith { target: Option<&'a str> },
}

impl Relational {
    /// Adds vectors of any subjects of the tenant, all or none. Those with the ids of stored ones replace them, so a repeat is harmless.
    pub async fn put_vectors(
        &self,
        gallery: &GalleryKey,
        vectors: &[StoredVector],
        now: Timestamp,
    ) -> Result<VectorWriteOutcome, StoreError> {
        self.put_needing(gallery, vectors, None, Needed::Any, now).await
    }

    /// Adds a vector that was made of `source`, if the gallery is that of the active model and the model is being changed to `target`. Otherwise
    /// `ModelChanged`: no face is stored for a model that no longer compares. Without a stored active model, this one becomes it.
    pub async fn put_face(
        &self,
        gallery: &GalleryKey,
        vector: &StoredVector,
        source: Option<&str>,
        target: Option<&str>,
        now: Timestamp,
    ) -> Result<VectorWriteOutcome, StoreError> {
        let needed = Needed::ActiveWith { target };
        self.put_needing(gallery, std::slice::from_ref(vector), source, needed, now).await
    }

    async fn put_needing(
        &self,
        gallery: &GalleryKey,
        vectors: &[StoredVector],
        source: Option<&str>,
        needed: Needed<'_>,
        now: Timestamp,
    ) -> Result<VectorWriteOutcome, StoreError> {
        let Some(first) = vectors.first() else { return Ok(VectorWriteOutcome::Stored) };
        if vectors.len() > MAX_VECTORS_AT_ONCE {
            return Ok(VectorWriteOutcome::TooManyAtOnce);
        }
        let mut transaction = self.begin().await?;
        let subjects: BTreeSet<SubjectId> = vectors.iter().map(|vector| vector.subject).collect();
        for subject in subjects {
            if !transaction.touch_subject(&gallery.tenant, subject, now).await? {
                return Ok(VectorWriteOutcome::UnknownSubject(subject));
            }
            let consent = transaction.consent(&gallery.tenant, subject).await?;
            if !self.may_compare(consent.as_ref(), now) {
                return Ok(VectorWriteOutcome::NoConsent(subject));
            }
        }
        let locked = transaction.lock_or_create(gallery, first.embedding.dimensions()).await?;
        // Under the lock of the gallery, which a switch of the model takes too.
        if let Needed::ActiveWith { target } = needed
            && !transaction.is_active(&gallery.model, target, now).await?
        {
            return Ok(VectorWriteOutcome::ModelChanged);
        }
        transaction.put_all(gallery, locked, vectors.iter().map(|vector| (vector, source)), now).await
    }

    /// Removes vectors and negatives. Returns how many there were.
    pub async fn remove_vectors(
        &self,
        gallery: &GalleryKey,
        ids: &[VectorId],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        // A vector of another model that is being made from one of them is stored before, or not at all.
        let mut subjects = BTreeSet::new();
        for id in ids {
            subjects.extend(transaction.owner(gallery, *id).await?);
        }
        for subject in subjects {
            transaction.lock_subject(&gallery.tenant, subject).await?;
        }
        let Some(locked) = transaction.lock_gallery(gallery).await? else { return Ok(0) };
        let mut change = GalleryChange::new(&mut transaction, gallery, locked, now);
        let mut removed = 0;
        for id in ids {
            removed += u64::from(change.remove(*id).await?);
        }
        // Otherwise nothing changed, and the version must not either.
        if removed > 0 {
            change.finish().await?;
            transaction.commit().await?;
            self.empty_journal().await;
        }
        Ok(removed)
    }

    /// The galleries of a tenant, one for each model.
    pub async fn galleries_of_tenant(&self, tenant: &TenantId) -> Result<Vec<GalleryKey>, StoreError> {
        self.begin_snapshot().await?.galleries_of(tenant).await
    }

    /// The vectors and negatives of one subject, by id; without the whole gallery.
    ///
    /// # Errors
    /// As those of [`gallery::VectorStore`].
    pub async fn vectors_of_subject(
        &self,
        gallery: &GalleryKey,
        subject: SubjectId,
    ) -> Result<Vec<StoredVector>, GalleryError> {
        let mut snapshot = self.begin_snapshot().await.map_err(super::read::unavailable)?;
        snapshot.vectors_of(gallery, subject).await
    }
}

impl Transaction {
    /// Adds vectors, each with what it was made of if that is known, and commits; all or none.
    pub(super) async fn put_all<'a>(
        mut self,
        gallery: &GalleryKey,
        locked: Locked,
        vectors: impl Iterator<Item = (&'a StoredVector, Option<&'a str>)> + Clone + Send,
        now: Timestamp,
    ) -> Result<VectorWriteOutcome, StoreError> {
        if vectors.clone().any(|(vector, _)| vector.embedding.dimensions() != locked.dimensions) {
            return Ok(VectorWriteOutcome::WrongLength(locked.dimensions));
        }
        let mut change = GalleryChange::new(&mut self, gallery, locked, now);
        for (vector, source) in vectors {
            change.put(vector).await?;
            if let Some(source) = source {
                change.set_source(vector.id, source).await?;
            }
        }
        if let Some(subject) = change.above(i64::from(MAX_VECTORS_OF_SUBJECT)) {
            return Ok(VectorWriteOutcome::TooMany(subject));
        }
        change.finish().await?;
        self.commit().await?;
        Ok(VectorWriteOutcome::Stored)
    }

    /// The vectors and negatives of one subject, by id.
    pub(super) async fn vectors_of(
        &mut self,
        gallery: &GalleryKey,
        subject: SubjectId,
    ) -> Result<Vec<StoredVector>, GalleryError> {
        let Some(known) = self.gallery(gallery).await? else { return Ok(Vec::new()) };
        let sql = "SELECT id, subject, kind, vector FROM face_vectors WHERE tenant = $1 AND model = $2 AND subject = $3 \
                   ORDER BY id";
        let rows = self.rows(sql, values![&gallery.tenant, &gallery.model, subject]).await;
        let rows = rows.map_err(super::read::unavailable)?;
        rows.iter().map(|row| super::read::stored_vector(row, known.dimensions)).collect()
    }
}
