//! Which faces of the active model the target has, which it cannot have, and which are still to be made.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{SubjectId, TenantId, VectorId};
use gallery::{GalleryKey, VectorKind};
use uuid::Uuid;

use super::{FaceToEmbed, Gap};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::faces::gallery_change::kind;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, unreadable, values};

/// Faces of the active model that are read at once.
const PAGE: i64 = 1_000;

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

    /// How much of a gallery of the active model the target has.
    pub async fn coverage(&self, gallery: &GalleryKey, target: &str) -> Result<Coverage, StoreError> {
        self.begin_snapshot().await?.coverage(gallery, target).await
    }
}

impl Transaction {
    /// The first tenant after another one that has a gallery of the model.
    async fn next_tenant(&mut self, model: &str, after: Option<&TenantId>) -> Result<Option<TenantId>, StoreError> {
        let sql = "SELECT tenant FROM face_galleries WHERE tenant > $1 AND model = $2 ORDER BY tenant LIMIT 1";
        let row = self.row(sql, values![after.map_or("", TenantId::as_str), model]).await?;
        row.as_ref().map(Row::tenant).transpose()
    }

    async fn faces_to_embed(
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
    async fn coverage(&mut self, gallery: &GalleryKey, target: &str) -> Result<Coverage, StoreError> {
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
}
