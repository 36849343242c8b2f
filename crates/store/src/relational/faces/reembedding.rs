//! Making the vectors of another model: the new vectors, and the faces that cannot have one. Which faces have none: `reembedding/coverage.rs`.
//!
//! In: the vectors of the active model, with what they were made of. Out: vectors of the target with the same ids.

mod coverage;

use std::collections::{BTreeMap, BTreeSet};

use contracts::{SubjectId, TenantId, VectorId};
use gallery::{GalleryKey, StoredVector, VectorKind};
use jiff::Timestamp;

use super::vectors::{MAX_VECTORS_AT_ONCE, VectorWriteOutcome};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::values;

pub use coverage::{Coverage, FaceCounts, SubjectWithout};

/// A face of the active model that has no vector of the target yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaceToEmbed {
    /// Id of its vectors, of all models.
    pub id: VectorId,
    /// Whose it is, or is not.
    pub subject: SubjectId,
    /// Which of the two.
    pub kind: VectorKind,
    /// The key of its kept image, or the id of its detection.
    pub source: Option<String>,
}

/// A vector with what it was made of.
#[derive(Debug, Clone)]
pub struct SourcedVector {
    /// The vector.
    pub vector: StoredVector,
    /// The key of its kept image, or the id of its detection.
    pub source: Option<String>,
}

/// Why the target cannot have a vector of a face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The image was not kept, or was deleted.
    ImageNotKept,
    /// The image has no such face for the target.
    FaceNotFound,
    /// The face has no embedding of the target.
    FaceNotComparable,
    /// The subject would have too many vectors of the target.
    TooManyFaces,
}

impl Gap {
    const ALL: [Self; 4] = [Self::ImageNotKept, Self::FaceNotFound, Self::FaceNotComparable, Self::TooManyFaces];

    /// The stored name.
    const fn name(self) -> &'static str {
        match self {
            Self::ImageNotKept => "image_not_kept",
            Self::FaceNotFound => "face_not_found",
            Self::FaceNotComparable => "face_not_comparable",
            Self::TooManyFaces => "too_many_faces",
        }
    }
}

impl Relational {
    /// Adds vectors of the target, all or none. Those of faces that were deleted meanwhile are left out.
    pub async fn put_reembedded(
        &self,
        gallery: &GalleryKey,
        target: &str,
        vectors: &[SourcedVector],
        now: Timestamp,
    ) -> Result<VectorWriteOutcome, StoreError> {
        if vectors.len() > MAX_VECTORS_AT_ONCE {
            return Ok(VectorWriteOutcome::TooManyAtOnce);
        }
        let mut transaction = self.begin().await?;
        let present = transaction.lock_present(gallery, vectors).await?;
        let Some(first) = present.first() else { return Ok(VectorWriteOutcome::Stored) };
        let key = GalleryKey { tenant: gallery.tenant.clone(), model: target.to_owned() };
        let locked = transaction.lock_or_create(&key, first.vector.embedding.dimensions()).await?;
        let sourced = present.iter().map(|face| (&face.vector, face.source.as_deref()));
        transaction.put_all(&key, locked, sourced, now).await
    }

    /// Says that the target cannot have these faces. Faces that are gone are left out.
    pub async fn put_gaps(
        &self,
        gallery: &GalleryKey,
        target: &str,
        gaps: &[(VectorId, Gap)],
    ) -> Result<(), StoreError> {
        if gaps.is_empty() {
            return Ok(());
        }
        let tenant = &gallery.tenant;
        let mut transaction = self.begin().await?;
        // Subjects are locked in their order.
        let mut by_subject = BTreeMap::<SubjectId, Vec<(VectorId, Gap)>>::new();
        for (id, gap) in gaps {
            if let Some(subject) = transaction.owner(gallery, *id).await? {
                by_subject.entry(subject).or_default().push((*id, *gap));
            }
        }
        for (subject, gaps) in by_subject {
            if !transaction.lock_subject(tenant, subject).await? {
                continue;
            }
            for (id, gap) in gaps {
                // It may have been removed before the lock.
                if transaction.owner(gallery, id).await? != Some(subject) {
                    continue;
                }
                let sql = "INSERT INTO face_model_gaps (tenant, model, id, reason) VALUES ($1, $2, $3, $4) \
                           ON CONFLICT (tenant, model, id) DO NOTHING";
                transaction.execute(sql, values![tenant, target, id, gap.name()]).await?;
            }
        }
        transaction.commit().await
    }

    /// Says what a face was made of, if that is not known, and that it is to be tried again with the target. `false` if the face is gone, or
    /// its subject has no valid consent; nothing is changed then.
    pub async fn set_source(
        &self,
        gallery: &GalleryKey,
        id: VectorId,
        source: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let GalleryKey { tenant, model } = gallery;
        let mut transaction = self.begin().await?;
        let Some(subject) = transaction.owner(gallery, id).await? else { return Ok(false) };
        if !transaction.lock_subject(tenant, subject).await? {
            return Ok(false);
        }
        let consent = transaction.consent(tenant, subject).await?;
        let is_there = transaction.owner(gallery, id).await? == Some(subject);
        if !is_there || !self.may_compare(consent.as_ref(), now) {
            return Ok(false);
        }
        let sql = "UPDATE face_vectors SET source = $4 WHERE tenant = $1 AND model = $2 AND id = $3 AND source IS NULL";
        transaction.execute(sql, values![tenant, model, id, source]).await?;
        let sql = "DELETE FROM face_model_gaps WHERE tenant = $1 AND id = $2";
        transaction.execute(sql, values![tenant, id]).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

impl Transaction {
    /// The subject of a vector; `None` if it is gone.
    pub(super) async fn owner(&mut self, gallery: &GalleryKey, id: VectorId) -> Result<Option<SubjectId>, StoreError> {
        let sql = "SELECT subject FROM face_vectors WHERE tenant = $1 AND model = $2 AND id = $3";
        let row = self.row(sql, values![&gallery.tenant, &gallery.model, id]).await?;
        row.map(|row| Ok(SubjectId::from_uuid(row.get("subject")?))).transpose()
    }

    /// Locks a subject until this transaction ends; `false` if there is none. Unlike an enrolment, it does not count as its change.
    pub(super) async fn lock_subject(&mut self, tenant: &TenantId, id: SubjectId) -> Result<bool, StoreError> {
        let sql = "UPDATE face_subjects SET updated_at = updated_at WHERE tenant = $1 AND id = $2";
        Ok(self.execute(sql, values![tenant, id]).await? == 1)
    }

    /// Locks the subjects of vectors, and returns those of faces that the gallery still has.
    async fn lock_present<'a>(
        &mut self,
        gallery: &GalleryKey,
        vectors: &'a [SourcedVector],
    ) -> Result<Vec<&'a SourcedVector>, StoreError> {
        let GalleryKey { tenant, model } = gallery;
        let subjects: BTreeSet<SubjectId> = vectors.iter().map(|face| face.vector.subject).collect();
        let mut locked = BTreeSet::new();
        for subject in subjects {
            if self.lock_subject(tenant, subject).await? {
                locked.insert(subject);
            }
        }
        let mut present = Vec::with_capacity(vectors.len());
        // The vectors of a tenant that is being erased are deleted after its subjects.
        for face in vectors.iter().filter(|face| locked.contains(&face.vector.subject)) {
            let sql = "SELECT id FROM face_vectors WHERE tenant = $1 AND model = $2 AND id = $3 AND subject = $4";
            let row = self.row(sql, values![tenant, model, face.vector.id, face.vector.subject]).await?;
            present.extend(row.is_some().then_some(face));
        }
        Ok(present)
    }
}
