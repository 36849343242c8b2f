//! The enrolled faces of a subject, one by one: listing, counting, removing.
//!
//! In: a subject, and the id that the vectors of one face have for all models. Out: what is known of its faces, without a vector. A negative is
//! no enrolled face, and that of another subject is not found. Negatives are removed here too.

use std::collections::BTreeMap;

use contracts::{SubjectId, TenantId, VectorId};
use gallery::{GalleryKey, VectorKind};
use jiff::Timestamp;

use super::gallery_change::{GalleryChange, kind_name};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

/// An enrolled face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolledRecord {
    /// Id of its vectors, of all models.
    pub id: VectorId,
    /// The key of its kept image; `None` if it was not kept.
    pub source: Option<String>,
}

/// Counts the enrolled faces of subjects by [`Relational::rows_by_ids`].
const FACES_OF: &str = "SELECT subject, count(*) AS faces FROM face_vectors WHERE tenant = $1 AND model = $2 AND kind = $3 \
    AND subject IN ($4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) GROUP BY subject";

impl Relational {
    /// The enrolled faces of a subject for one model, by id.
    pub async fn enrolled_faces(
        &self,
        gallery: &GalleryKey,
        subject: SubjectId,
    ) -> Result<Vec<EnrolledRecord>, StoreError> {
        let sql = "SELECT id, source FROM face_vectors WHERE tenant = $1 AND model = $2 AND subject = $3 AND kind = $4 \
                   ORDER BY id";
        let enrolled = kind_name(VectorKind::Enrolled);
        let rows = self.rows(sql, values![&gallery.tenant, &gallery.model, subject, enrolled]).await?;
        rows.iter()
            .map(|row| Ok(EnrolledRecord { id: VectorId::from_uuid(row.get("id")?), source: row.get("source")? }))
            .collect()
    }

    /// The numbers of the enrolled faces of subjects for one model. Those without a face are left out.
    pub async fn count_enrolled(
        &self,
        gallery: &GalleryKey,
        subjects: &[SubjectId],
    ) -> Result<BTreeMap<SubjectId, u64>, StoreError> {
        let first = values![&gallery.tenant, &gallery.model, kind_name(VectorKind::Enrolled)];
        let rows = self.rows_by_ids(FACES_OF, first, subjects).await?;
        let count = |row: &Row| {
            let faces: i64 = row.get("faces")?;
            Ok((SubjectId::from_uuid(row.get("subject")?), faces.unsigned_abs()))
        };
        rows.iter().map(count).collect()
    }

    /// Whether a subject has an enrolled face with this id, for any model.
    pub async fn is_enrolled(&self, tenant: &TenantId, subject: SubjectId, id: VectorId) -> Result<bool, StoreError> {
        let mut snapshot = self.begin_snapshot().await?;
        for key in snapshot.galleries_of(tenant).await? {
            if snapshot.has_face(&key, subject, VectorKind::Enrolled, id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes an enrolled face of a subject: its vectors of all models. `false` if the subject has none with this id. The version of each
    /// gallery changes once, as with every removal, so no later search finds it.
    pub async fn remove_enrolled(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        id: VectorId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.remove_faces(tenant, subject, VectorKind::Enrolled, &[id], now).await?.is_some())
    }

    /// Removes negatives of a subject, of all models, in one transaction: none of a model to which it is being changed is left. Returns the id
    /// of one that there was.
    pub async fn remove_negatives(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        ids: &[VectorId],
        now: Timestamp,
    ) -> Result<Option<VectorId>, StoreError> {
        self.remove_faces(tenant, subject, VectorKind::Negative, ids, now).await
    }

    async fn remove_faces(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        kind: VectorKind,
        ids: &[VectorId],
        now: Timestamp,
    ) -> Result<Option<VectorId>, StoreError> {
        let mut transaction = self.begin().await?;
        // Nobody adds vectors to a locked subject, also none of another model.
        if !transaction.touch_subject(tenant, subject, now).await? {
            return Ok(None);
        }
        let removed = transaction.remove_faces(tenant, subject, kind, ids, now).await?;
        if removed.is_some() {
            transaction.commit().await?;
            self.empty_journal().await;
        }
        Ok(removed)
    }
}

impl Transaction {
    /// Removes faces of a locked subject, of all models. Returns the id of one that there was.
    pub(super) async fn remove_faces(
        &mut self,
        tenant: &TenantId,
        subject: SubjectId,
        kind: VectorKind,
        ids: &[VectorId],
        now: Timestamp,
    ) -> Result<Option<VectorId>, StoreError> {
        let mut removed = None;
        for key in self.galleries_of(tenant).await? {
            let mut found = Vec::new();
            for id in ids {
                if self.has_face(&key, subject, kind, *id).await? {
                    found.push(*id);
                }
            }
            if found.is_empty() {
                continue;
            }
            let Some(locked) = self.lock_gallery(&key).await? else { continue };
            let mut change = GalleryChange::new(self, &key, locked, now);
            for id in found {
                if change.remove(id).await? {
                    removed = Some(id);
                }
            }
            change.finish().await?;
        }
        if removed.is_some() {
            for id in ids {
                let sql = "DELETE FROM face_model_gaps WHERE tenant = $1 AND id = $2";
                self.execute(sql, values![tenant, *id]).await?;
            }
        }
        Ok(removed)
    }

    /// Whether a gallery has a vector of a subject with this kind and id.
    async fn has_face(
        &mut self,
        key: &GalleryKey,
        subject: SubjectId,
        kind: VectorKind,
        id: VectorId,
    ) -> Result<bool, StoreError> {
        let sql =
            "SELECT id FROM face_vectors WHERE tenant = $1 AND model = $2 AND id = $3 AND subject = $4 AND kind = $5";
        let row = self.row(sql, values![&key.tenant, &key.model, id, subject, kind_name(kind)]).await?;
        Ok(row.is_some())
    }
}
