//! Making the vectors of another model: which faces have none, the new vectors, and the faces that cannot have one.
//!
//! In: the vectors of the active model, with what they were made of. Out: vectors of the target with the same ids.

use std::collections::BTreeSet;

use contracts::{SubjectId, TenantId, VectorId};
use gallery::{GalleryKey, StoredVector, VectorKind};
use jiff::Timestamp;
use uuid::Uuid;

use super::gallery_change::{GalleryChange, kind, kind_name};
use super::vectors::{MAX_VECTORS_OF_SUBJECT, VectorWriteOutcome};
use crate::StoreError;
use crate::relational::database::{Relational, Transaction};
use crate::relational::values::{Row, unreadable, values};

/// Subjects that are counted with one statement.
const PAGE: u32 = 1_000;

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

/// Faces of a tenant, and how many of them the target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaceCounts {
    /// Vectors of the active model.
    pub total: u64,
    /// Those that the target has too.
    pub embedded: u64,
    /// Those that it cannot have.
    pub missing: u64,
}

impl std::ops::AddAssign for FaceCounts {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.embedded += other.embedded;
        self.missing += other.missing;
    }
}

/// A subject that would have no face for the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectWithout {
    /// Its id.
    pub subject: SubjectId,
    /// Faces that it has for the active model.
    pub faces: u64,
    /// Why the target cannot have one of them.
    pub reason: Gap,
}

const FACES_TO_EMBED: &str = "SELECT a.id, a.subject, a.kind, a.source FROM face_vectors a \
     WHERE a.tenant = $1 AND a.model = $2 AND a.id > $4 \
     AND NOT EXISTS (SELECT 1 FROM face_vectors b WHERE b.tenant = $1 AND b.model = $3 AND b.id = a.id) \
     AND NOT EXISTS (SELECT 1 FROM face_model_gaps g WHERE g.tenant = $1 AND g.model = $3 AND g.id = a.id) \
     ORDER BY a.id LIMIT $5";

/// Not those of which a face is still to be made.
const SUBJECTS_WITHOUT: &str = "SELECT a.subject AS subject, count(*) AS faces, min(g.reason) AS reason FROM face_vectors a \
     LEFT JOIN face_model_gaps g ON g.tenant = $1 AND g.model = $3 AND g.id = a.id \
     WHERE a.tenant = $1 AND a.model = $2 AND a.subject > $4 AND a.kind = 'enrolled' \
     AND NOT EXISTS (SELECT 1 FROM face_vectors b WHERE b.tenant = $1 AND b.model = $3 AND b.subject = a.subject \
     AND b.kind = 'enrolled') GROUP BY a.subject HAVING count(g.id) = count(*) ORDER BY a.subject LIMIT $5";

impl Relational {
    /// The tenants that have a gallery of a model, in their order, one after another: that after `after`.
    pub async fn next_tenant_of(&self, model: &str, after: Option<&TenantId>) -> Result<Option<TenantId>, StoreError> {
        self.begin_snapshot().await?.next_tenant(model, after).await
    }

    /// Faces of a gallery of the active model that have no vector of the target, and of which it is not known that they cannot have one: those
    /// after an id, at most `limit`.
    pub async fn faces_to_embed(
        &self,
        gallery: &GalleryKey,
        target: &str,
        after: Option<VectorId>,
        limit: u32,
    ) -> Result<Vec<FaceToEmbed>, StoreError> {
        self.begin_snapshot().await?.faces_to_embed(gallery, target, after, limit).await
    }

    /// Adds vectors of the target, all or none. Those of faces that were deleted meanwhile are left out.
    pub async fn put_reembedded(
        &self,
        gallery: &GalleryKey,
        target: &str,
        vectors: &[SourcedVector],
        now: Timestamp,
    ) -> Result<VectorWriteOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let present = transaction.lock_present(gallery, vectors).await?;
        let Some(first) = present.first() else { return Ok(VectorWriteOutcome::Stored) };
        let key = GalleryKey { tenant: gallery.tenant.clone(), model: target.to_owned() };
        let locked = match transaction.lock_gallery(&key).await? {
            Some(locked) => locked,
            None => transaction.create_gallery(&key, first.vector.embedding.dimensions()).await?,
        };
        if present.iter().any(|face| face.vector.embedding.dimensions() != locked.dimensions) {
            return Ok(VectorWriteOutcome::WrongLength(locked.dimensions));
        }
        let mut change = GalleryChange::new(&mut transaction, &key, locked, now);
        for SourcedVector { vector, source } in present {
            change.put(vector).await?;
            if let Some(source) = source {
                change.set_source(vector.id, source).await?;
            }
        }
        if let Some(subject) = change.above(i64::from(MAX_VECTORS_OF_SUBJECT)) {
            return Ok(VectorWriteOutcome::TooMany(subject));
        }
        change.finish().await?;
        transaction.commit().await?;
        Ok(VectorWriteOutcome::Stored)
    }

    /// Says that the target cannot have these faces.
    pub async fn put_gaps(&self, tenant: &TenantId, target: &str, gaps: &[(VectorId, Gap)]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for (id, gap) in gaps {
            let sql = "INSERT INTO face_model_gaps (tenant, model, id, reason) VALUES ($1, $2, $3, $4) \
                       ON CONFLICT (tenant, model, id) DO NOTHING";
            transaction.execute(sql, values![tenant, target, *id, gap.name()]).await?;
        }
        transaction.commit().await
    }

    /// Says what a face was made of, if that is not known, and that it is to be tried again with the target.
    pub async fn set_source(&self, gallery: &GalleryKey, id: VectorId, source: &str) -> Result<(), StoreError> {
        let GalleryKey { tenant, model } = gallery;
        let mut transaction = self.begin().await?;
        let sql = "UPDATE face_vectors SET source = $4 WHERE tenant = $1 AND model = $2 AND id = $3 AND source IS NULL";
        transaction.execute(sql, values![tenant, model, id, source]).await?;
        let sql = "DELETE FROM face_model_gaps WHERE tenant = $1 AND id = $2";
        transaction.execute(sql, values![tenant, id]).await?;
        transaction.commit().await
    }

    /// How many faces of a kind a gallery of the active model has, and the target of them.
    pub async fn count_faces(
        &self,
        gallery: &GalleryKey,
        target: &str,
        of: VectorKind,
    ) -> Result<FaceCounts, StoreError> {
        let sql = "SELECT count(*) AS total, count(b.id) AS embedded, \
                   count(*) FILTER (WHERE b.id IS NULL AND g.id IS NOT NULL) AS missing FROM face_vectors a \
                   LEFT JOIN face_vectors b ON b.tenant = $1 AND b.model = $3 AND b.id = a.id \
                   LEFT JOIN face_model_gaps g ON g.tenant = $1 AND g.model = $3 AND g.id = a.id \
                   WHERE a.tenant = $1 AND a.model = $2 AND a.kind = $4";
        let GalleryKey { tenant, model } = gallery;
        let row = self.row(sql, values![tenant, model, target, kind_name(of)]).await?;
        let Some(row) = row else { return Ok(FaceCounts::default()) };
        let number = |column| Ok::<u64, StoreError>(row.get::<i64>(column)?.unsigned_abs());
        Ok(FaceCounts { total: number("total")?, embedded: number("embedded")?, missing: number("missing")? })
    }

    /// Subjects of a gallery of the active model that would have no face for the target: those after an id, at most `limit`.
    pub async fn subjects_without(
        &self,
        gallery: &GalleryKey,
        target: &str,
        after: Option<SubjectId>,
        limit: u32,
    ) -> Result<Vec<SubjectWithout>, StoreError> {
        self.begin_snapshot().await?.subjects_without(gallery, target, after, limit).await
    }

    /// The number of all such subjects.
    pub async fn count_subjects_without(&self, gallery: &GalleryKey, target: &str) -> Result<u64, StoreError> {
        self.begin_snapshot().await?.count_subjects_without(gallery, target).await
    }
}

impl Transaction {
    /// The first tenant after another one that has a gallery of the model.
    pub(super) async fn next_tenant(
        &mut self,
        model: &str,
        after: Option<&TenantId>,
    ) -> Result<Option<TenantId>, StoreError> {
        let sql = "SELECT tenant FROM face_galleries WHERE tenant > $1 AND model = $2 ORDER BY tenant LIMIT 1";
        let row = self.row(sql, values![after.map_or("", TenantId::as_str), model]).await?;
        let Some(row) = row else { return Ok(None) };
        let tenant: String = row.get("tenant")?;
        tenant.parse().map(Some).map_err(|error: contracts::IdError| unreadable("tenant", &error))
    }

    pub(super) async fn faces_to_embed(
        &mut self,
        gallery: &GalleryKey,
        target: &str,
        after: Option<VectorId>,
        limit: u32,
    ) -> Result<Vec<FaceToEmbed>, StoreError> {
        let GalleryKey { tenant, model } = gallery;
        let after = after.map_or(Uuid::nil(), |id| id.uuid());
        let rows = self.rows(FACES_TO_EMBED, values![tenant, model, target, after, i64::from(limit)]).await?;
        let face = |row: &Row| {
            let (id, subject) = (VectorId::from_uuid(row.get("id")?), SubjectId::from_uuid(row.get("subject")?));
            Ok(FaceToEmbed { id, subject, kind: kind(row)?, source: row.get("source")? })
        };
        rows.iter().map(face).collect()
    }

    async fn subjects_without(
        &mut self,
        gallery: &GalleryKey,
        target: &str,
        after: Option<SubjectId>,
        limit: u32,
    ) -> Result<Vec<SubjectWithout>, StoreError> {
        let GalleryKey { tenant, model } = gallery;
        let after = after.map_or(Uuid::nil(), |id| id.uuid());
        let rows = self.rows(SUBJECTS_WITHOUT, values![tenant, model, target, after, i64::from(limit)]).await?;
        let subject = |row: &Row| {
            let (reason, faces): (String, i64) = (row.get("reason")?, row.get("faces")?);
            let known = Gap::ALL.into_iter().find(|known| known.name() == reason);
            let reason = known.ok_or_else(|| unreadable("reason of a missing face vector", &reason))?;
            let subject = SubjectId::from_uuid(row.get("subject")?);
            Ok(SubjectWithout { subject, faces: faces.unsigned_abs(), reason })
        };
        rows.iter().map(subject).collect()
    }

    pub(super) async fn count_subjects_without(
        &mut self,
        gallery: &GalleryKey,
        target: &str,
    ) -> Result<u64, StoreError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.subjects_without(gallery, target, after, PAGE).await?;
            count += page.len() as u64;
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.subject),
                _ => return Ok(count),
            }
        }
    }

    /// Locks the subjects of vectors, and returns those of faces that the gallery still has.
    async fn lock_present<'a>(
        &mut self,
        gallery: &GalleryKey,
        vectors: &'a [SourcedVector],
    ) -> Result<Vec<&'a SourcedVector>, StoreError> {
        let GalleryKey { tenant, model } = gallery;
        let subjects: BTreeSet<SubjectId> = vectors.iter().map(|face| face.vector.subject).collect();
        for subject in subjects {
            // Unlike an enrolment, it does not count as a change of the subject.
            let sql = "UPDATE face_subjects SET updated_at = updated_at WHERE tenant = $1 AND id = $2";
            self.execute(sql, values![tenant, subject]).await?;
        }
        let mut present = Vec::with_capacity(vectors.len());
        for face in vectors {
            let sql = "SELECT id FROM face_vectors WHERE tenant = $1 AND model = $2 AND id = $3 AND subject = $4";
            let row = self.row(sql, values![tenant, model, face.vector.id, face.vector.subject]).await?;
            present.extend(row.is_some().then_some(face));
        }
        Ok(present)
    }
}
