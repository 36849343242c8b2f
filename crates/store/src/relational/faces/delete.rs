//! Deleting a subject, and erasing all faces of a tenant.

use std::collections::BTreeSet;

use contracts::{SubjectId, TenantId};
use gallery::GalleryKey;
use jiff::Timestamp;
use uuid::Uuid;

use super::gallery_change::{Counts, GalleryChange};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Value, values};

/// Maximum number of rows that one statement deletes, so that it does not hold locks for long.
const BATCH: i64 = 1_000;

/// What was deleted with a subject.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeletedSubject {
    /// Vectors of its faces, of all models.
    pub enrolled: u64,
    /// Vectors of faces that were rejected as this subject.
    pub negatives: u64,
    /// The models with such vectors.
    pub models: Vec<String>,
}

/// What was erased of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErasedFaces {
    /// Subjects, with names and metadata.
    pub subjects: u64,
    /// Vectors and negatives, of all models.
    pub vectors: u64,
}

impl Relational {
    /// Deletes a subject with its vectors of all models. `None` if the tenant has no such subject.
    ///
    /// The ids of its vectors stay for [`super::REMOVALS_KEPT`], without the subject's, so that no instance keeps them in memory. Its own
    /// id stays as that of a former subject, so that documents which get it later are changed ([`Relational::former_subjects_due`]).
    pub async fn delete_subject(
        &self,
        tenant: &TenantId,
        id: SubjectId,
        now: Timestamp,
    ) -> Result<Option<DeletedSubject>, StoreError> {
        let mut transaction = self.begin().await?;
        if !transaction.touch_subject(tenant, id, now).await? {
            return Ok(None);
        }
        let deleted = transaction.erase_vectors(tenant, id, now).await?;
        // Photographs do not verify the user by this face any more.
        transaction.changes_answers_about(tenant);
        transaction.execute("DELETE FROM user_faces WHERE subject = $1", values![id]).await?;
        let sql = "DELETE FROM face_subjects WHERE tenant = $1 AND id = $2";
        transaction.execute(sql, values![tenant, id]).await?;
        transaction.record_deleted(tenant, id, now).await?;
        transaction.commit().await?;
        self.empty_journal().await;
        Ok(Some(deleted))
    }

    /// Erases all subjects and vectors of a tenant. A repeat after a failure erases the rest.
    pub async fn erase_faces(&self, tenant: &TenantId) -> Result<ErasedFaces, StoreError> {
        // First the subjects: nobody can add vectors to them then.
        let sql = "DELETE FROM face_subjects WHERE tenant = $1 AND id IN \
                   (SELECT id FROM face_subjects WHERE tenant = $1 ORDER BY id LIMIT $2)";
        let subjects = self.delete_in_batches(sql, || values![tenant, BATCH]).await?;
        let galleries = self.begin().await?.galleries_of(tenant).await?;
        for key in &galleries {
            self.delete_gallery(key).await?;
        }
        // Nobody finds them any more. A gallery of the same name cannot be created before the last one is deleted.
        let sql = "DELETE FROM face_vectors WHERE tenant = $1 AND (model, id) IN \
                   (SELECT model, id FROM face_vectors WHERE tenant = $1 ORDER BY model, id LIMIT $2)";
        let vectors = self.delete_in_batches(sql, || values![tenant, BATCH]).await?;
        let sql = "DELETE FROM face_vector_removals WHERE tenant = $1 AND (model, id) IN \
                   (SELECT model, id FROM face_vector_removals WHERE tenant = $1 ORDER BY model, id LIMIT $2)";
        self.delete_in_batches(sql, || values![tenant, BATCH]).await?;
        let sql = "DELETE FROM face_model_gaps WHERE tenant = $1 AND (model, id) IN \
                   (SELECT model, id FROM face_model_gaps WHERE tenant = $1 ORDER BY model, id LIMIT $2)";
        self.delete_in_batches(sql, || values![tenant, BATCH]).await?;
        let sql = "DELETE FROM face_former_subjects WHERE tenant = $1 AND id IN \
                   (SELECT id FROM face_former_subjects WHERE tenant = $1 ORDER BY id LIMIT $2)";
        self.delete_in_batches(sql, || values![tenant, BATCH]).await?;
        self.execute("DELETE FROM face_subject_counts WHERE tenant = $1", values![tenant]).await?;
        // A repeat after a failure may find no gallery to delete.
        self.forget_answers(tenant).await;
        self.empty_journal().await;
        Ok(ErasedFaces { subjects, vectors })
    }

    /// Deletes a gallery, and leaves its vectors to be deleted.
    async fn delete_gallery(&self, key: &GalleryKey) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        transaction.lock_deleted_galleries().await?;
        if transaction.lock_gallery(key).await?.is_none() {
            return Ok(());
        }
        let GalleryKey { tenant, model } = key;
        let sql = "UPDATE face_deleted_galleries SET version = \
                   (SELECT g.version FROM face_galleries g WHERE g.tenant = $1 AND g.model = $2) WHERE id = 1 \
                   AND version < (SELECT g.version FROM face_galleries g WHERE g.tenant = $1 AND g.model = $2)";
        transaction.execute(sql, values![tenant, model]).await?;
        let sql = "DELETE FROM face_galleries WHERE tenant = $1 AND model = $2";
        transaction.execute(sql, values![tenant, model]).await?;
        transaction.commit().await
    }

    /// Repeats a statement until it deletes less than [`BATCH`].
    async fn delete_in_batches(&self, sql: &'static str, values: impl Fn() -> Vec<Value>) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let batch = self.execute(sql, values()).await?;
            deleted += batch;
            if batch < BATCH.unsigned_abs() {
                return Ok(deleted);
            }
        }
    }
}

impl Transaction {
    /// Erases the vectors of a locked subject, of all models.
    pub(super) async fn erase_vectors(
        &mut self,
        tenant: &TenantId,
        id: SubjectId,
        now: Timestamp,
    ) -> Result<DeletedSubject, StoreError> {
        let (mut deleted, mut vectors) = (DeletedSubject::default(), BTreeSet::new());
        for key in self.galleries_of(tenant).await? {
            // Nobody adds vectors to a locked subject.
            if self.count_vectors(&key, id).await?.all() == 0 {
                continue;
            }
            let Some(locked) = self.lock_gallery(&key).await? else { continue };
            let sql = "SELECT id FROM face_vectors WHERE tenant = $1 AND model = $2 AND subject = $3";
            for row in self.rows(sql, values![tenant, &key.model, id]).await? {
                vectors.insert(row.get::<Uuid>("id")?);
            }
            let mut change = GalleryChange::new(self, &key, locked, now);
            let Counts { enrolled, negatives } = change.remove_subject(id).await?;
            change.finish().await?;
            deleted.enrolled += enrolled.unsigned_abs();
            deleted.negatives += negatives.unsigned_abs();
            deleted.models.push(key.model);
        }
        // After all galleries, as where the model is switched.
        for vector in vectors {
            let sql = "DELETE FROM face_model_gaps WHERE tenant = $1 AND id = $2";
            self.execute(sql, values![tenant, vector]).await?;
        }
        Ok(deleted)
    }
}
