//! Making the vectors of another model: which faces have none, the new vectors, and the faces that cannot have one.
//!
//! In: the vectors of the active model, with what they were made of. Out: vectors of the target with the same ids.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{SubjectId, TenantId, VectorId};
use gallery::{GalleryKey, StoredVector, VectorKind};
use jiff::Timestamp;
use uuid::Uuid;

use super::gallery_change::kind;
use super::vectors::VectorWriteOutcome;
use crate::StoreError;
use crate::relational::database::{Relational, Transaction};
use crate::relational::values::{Row, unreadable, values};

/// Faces of the active model that are read at once.
const PAGE: i64 = 1_000;

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

/// A subject that would have no face for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectWithout {
    /// Its id.
    pub subject: SubjectId,
    /// Faces that it has for the active model.
    pub faces: u64,
    /// Why the target cannot have the first of them.
    pub reason: Gap,
}

/// How much of a gallery of the active model the target has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Enrolled faces.
    pub faces: FaceCounts,
    /// Negatives.
    pub negatives: FaceCounts,
    /// Subjects that would have no face, by id. Not those of which a face is still to be made.
    pub without: Vec<SubjectWithout>,
}

impl Coverage {
    /// Whether each face has a vector of the target, or cannot have one.
    pub fn is_complete(&self) -> bool {
        [self.faces, self.negatives].iter().all(|counts| counts.embedded + counts.missing == counts.total)
    }
}

/// Faces of the active model in the order of their ids, and what the target has of the same ids. Reading both in their order takes
/// as long with any plan of the database; a join of tables that have just grown may compare each row with every other one.
struct Window {
    faces: Vec<FaceToEmbed>,
    embedded: BTreeMap<VectorId, (SubjectId, VectorKind)>,
    gaps: BTreeMap<VectorId, Gap>,
    /// Where the next one begins; `None` if this is the last.
    next: Option<VectorId>,
}

const FACES: &str = "SELECT id, subject, kind, source FROM face_vectors WHERE tenant = $1 AND model = $2 AND id > $3 \
     ORDER BY id LIMIT $4";
const EMBEDDED: &str = "SELECT id, subject, kind FROM face_vectors WHERE tenant = $1 AND model = $2 AND id > $3 AND id <= $4 \
     ORDER BY id";
const GAPS: &str = "SELECT id, reason FROM face_model_gaps WHERE tenant = $1 AND model = $2 AND id > $3 AND id <= $4 \
     ORDER BY id";

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
        limit: usize,
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

    /// How much of a gallery of the active model the target has.
    pub async fn coverage(&self, gallery: &GalleryKey, target: &str) -> Result<Coverage, StoreError> {
        self.begin_snapshot().await?.coverage(gallery, target).await
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
        mut after: Option<VectorId>,
        limit: usize,
    ) -> Result<Vec<FaceToEmbed>, StoreError> {
        let mut found = Vec::new();
        loop {
            let Window { faces, embedded, gaps, next } = self.window(gallery, target, after).await?;
            found.extend(
                faces.into_iter().filter(|face| !embedded.contains_key(&face.id) && !gaps.contains_key(&face.id)),
            );
            if next.is_none() || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
            after = next;
        }
    }

    /// Holds a few numbers for each subject of the gallery.
    pub(super) async fn coverage(&mut self, gallery: &GalleryKey, target: &str) -> Result<Coverage, StoreError> {
        let mut coverage = Coverage::default();
        let (mut subjects, mut with_face) = (BTreeMap::new(), BTreeSet::new());
        let mut after = None;
        loop {
            let Window { faces, embedded, gaps, next } = self.window(gallery, target, after).await?;
            for FaceToEmbed { id, subject, kind, .. } in faces {
                let (has_vector, gap) = (embedded.contains_key(&id), gaps.get(&id).copied());
                let counts = match kind {
                    VectorKind::Enrolled => &mut coverage.faces,
                    VectorKind::Negative => &mut coverage.negatives,
                };
                counts.total += 1;
                counts.embedded += u64::from(has_vector);
                counts.missing += u64::from(!has_vector && gap.is_some());
                if kind == VectorKind::Enrolled {
                    // The number of its faces, of those that the target cannot have, and why not the first one.
                    let (all, missing, reason) = subjects.entry(subject).or_insert((0_u64, 0_u64, gap));
                    *all += 1;
                    *missing += u64::from(gap.is_some());
                    *reason = reason.or(gap);
                }
            }
            let enrolled = embedded.values().filter(|(_, kind)| *kind == VectorKind::Enrolled);
            with_face.extend(enrolled.map(|(subject, _)| *subject));
            after = next;
            if after.is_none() {
                break;
            }
        }
        coverage.without = subjects
            .into_iter()
            .filter_map(|(subject, (faces, missing, reason))| {
                let reason = reason.filter(|_| faces == missing && !with_face.contains(&subject))?;
                Some(SubjectWithout { subject, faces, reason })
            })
            .collect();
        Ok(coverage)
    }

    /// The faces after an id, at most [`PAGE`], and what the target has up to the last of them.
    async fn window(
        &mut self,
        gallery: &GalleryKey,
        target: &str,
        after: Option<VectorId>,
    ) -> Result<Window, StoreError> {
        let GalleryKey { tenant, model } = gallery;
        let start = after.map_or(Uuid::nil(), |id| id.uuid());
        let id = |row: &Row| Ok::<_, StoreError>(VectorId::from_uuid(row.get("id")?));
        let owner = |row: &Row| Ok::<_, StoreError>(SubjectId::from_uuid(row.get("subject")?));
        let rows = self.rows(FACES, values![tenant, model, start, PAGE]).await?;
        let face = |row: &Row| {
            let (id, subject, kind, source) = (id(row)?, owner(row)?, kind(row)?, row.get("source")?);
            Ok::<_, StoreError>(FaceToEmbed { id, subject, kind, source })
        };
        let faces = rows.iter().map(face).collect::<Result<Vec<_>, _>>()?;
        let next = faces.last().map(|last| last.id).filter(|_| faces.len() == PAGE as usize);
        let end = next.map_or(Uuid::max(), |id| id.uuid());
        let rows = self.rows(EMBEDDED, values![tenant, target, start, end]).await?;
        let embedded = rows.iter().map(|row| Ok::<_, StoreError>((id(row)?, (owner(row)?, kind(row)?))));
        let embedded = embedded.collect::<Result<_, StoreError>>()?;
        let rows = self.rows(GAPS, values![tenant, target, start, end]).await?;
        let gap = |row: &Row| {
            let reason: String = row.get("reason")?;
            let known = Gap::ALL.into_iter().find(|known| known.name() == reason);
            Ok::<_, StoreError>((
                id(row)?,
                known.ok_or_else(|| unreadable("reason of a missing face vector", &reason))?,
            ))
        };
        let gaps = rows.iter().map(gap).collect::<Result<_, StoreError>>()?;
        Ok(Window { faces, embedded, gaps, next })
    }

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
