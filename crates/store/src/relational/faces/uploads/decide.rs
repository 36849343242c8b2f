//! Deciding an upload by its face: it enrols the user, or is compared with the user's enrolled faces.

use std::collections::BTreeMap;

use contracts::{SubjectId, TenantId, UploadOutcome, UserId, VectorId};
use gallery::{Embedding, GalleryKey, Identity, Look, OrderedSearch, StoredVector, VectorKind, decide};
use jiff::Timestamp;

use super::{NewUpload, UploadDecision};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::faces::gallery_change::GalleryChange;
use crate::relational::faces::read::store_error;
use crate::relational::transaction::Transaction;
use crate::relational::values::{unreadable, values};

/// The face of an upload.
#[derive(Debug, Clone)]
pub struct UploadedFace {
    /// The model.
    pub model: String,
    /// The face.
    pub embedding: Embedding,
    /// The model to which it is being changed.
    pub target: Option<String>,
    /// The face for that model, if it found one.
    pub target_embedding: Option<Embedding>,
    /// The similarity from which on it is the same person.
    pub threshold: f32,
    /// When its file was written.
    pub written_at: Timestamp,
    /// Id of the subject, if it is the user's first face.
    pub subject: SubjectId,
    /// Id of its vector.
    pub vector: VectorId,
}

impl UploadedFace {
    /// The same face, of another subject.
    fn of(&self, subject: SubjectId) -> Self {
        Self { subject, ..self.clone() }
    }
}

impl Relational {
    /// Compares a face with that of the user's first upload, or enrols it as the first.
    pub async fn decide_upload(
        &self,
        upload: &NewUpload,
        user: UserId,
        face: &UploadedFace,
        now: Timestamp,
    ) -> Result<UploadDecision, StoreError> {
        let mut transaction = self.begin().await?;
        // A user who is being deleted is disabled: its vectors may be erased already.
        let Some((user, tenant)) = transaction.lock_if_active(Some(user)).await? else {
            drop(transaction);
            return self.refuse_upload(upload, None, UploadOutcome::UnknownUser, now).await;
        };
        if let Some(known) = transaction.earlier(upload).await? {
            return Ok(known);
        }
        let key = GalleryKey { tenant, model: face.model.clone() };
        let outcome = match transaction.own_subject(user, &key.tenant).await? {
            Some(subject) => {
                let consent = transaction.consent(&key.tenant, subject).await?;
                if !self.may_compare(consent.as_ref(), now) {
                    UploadOutcome::ConsentMissing
                } else if transaction.has_faces(&key.tenant, subject).await? {
                    transaction.compare(&key, subject, face).await?
                } else if transaction.enrol_own(&key, user, &face.of(subject), now).await? {
                    // Its faces were erased when a consent ended, and there is a new one.
                    UploadOutcome::Enrolled
                } else {
                    return Ok(UploadDecision::ModelChanged);
                }
            }
            // It was read before, and its file is erased now or soon.
            None if transaction.has_deleted_since(&key.tenant, face.written_at).await? => UploadOutcome::FileMissing,
            // A photograph records no consent.
            None if !self.may_compare(None, now) => UploadOutcome::ConsentMissing,
            None if !transaction.count_new_subject(&key.tenant, self.subject_limit).await? => {
                // Without the count, as it is not stored.
                drop(transaction);
                return self.refuse_upload(upload, Some(user), UploadOutcome::TooManySubjects, now).await;
            }
            None if transaction.enrol_first(&key, user, face, now).await? => UploadOutcome::Enrolled,
            None => return Ok(UploadDecision::ModelChanged),
        };
        self.record(transaction, upload, Some((user, key.tenant)), outcome, now).await
    }
}

impl Transaction {
    /// Locks the subject of the user's own face. `None` if there is none, or it was deleted since.
    async fn own_subject(&mut self, user: UserId, tenant: &TenantId) -> Result<Option<SubjectId>, StoreError> {
        let sql = "SELECT subject FROM user_faces WHERE user_id = $1";
        let Some(row) = self.row(sql, values![user]).await? else { return Ok(None) };
        let subject = SubjectId::from_uuid(row.get("subject")?);
        Ok(self.lock_subject(tenant, subject).await?.then_some(subject))
    }

    /// Compares a face with those of a locked subject.
    async fn compare(
        &mut self,
        key: &GalleryKey,
        subject: SubjectId,
        face: &UploadedFace,
    ) -> Result<UploadOutcome, StoreError> {
        let vectors = self.vectors_of(key, subject).await.map_err(store_error)?;
        if !vectors.iter().any(|vector| vector.kind == VectorKind::Enrolled) {
            return Ok(UploadOutcome::OtherModel);
        }
        let mut comparison = OrderedSearch::new(&face.embedding, 1, -1.0);
        for vector in &vectors {
            comparison.compare(vector).map_err(|error| unreadable("face vector", &error))?;
        }
        let identity = decide(&[Look::Compared(comparison.finish())], face.threshold);
        let is_same = matches!(identity, Identity::Subject { .. });
        Ok(if is_same { UploadOutcome::Matched } else { UploadOutcome::AnotherPerson })
    }

    /// Whether a subject of the tenant was deleted after a time.
    async fn has_deleted_since(&mut self, tenant: &TenantId, time: Timestamp) -> Result<bool, StoreError> {
        let sql = "SELECT id FROM face_former_subjects WHERE tenant = $1 AND deleted_at > $2 LIMIT 1";
        Ok(self.row(sql, values![tenant, time]).await?.is_some())
    }

    /// Whether a locked subject has enrolled faces of any model.
    async fn has_faces(&mut self, tenant: &TenantId, subject: SubjectId) -> Result<bool, StoreError> {
        for key in self.galleries_of(tenant).await? {
            if self.count_vectors(&key, subject).await?.enrolled > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds the subject of a locked user, and enrols its first face. `false` if another model compares now.
    async fn enrol_first(
        &mut self,
        key: &GalleryKey,
        user: UserId,
        face: &UploadedFace,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql =
            "INSERT INTO face_subjects (tenant, id, metadata, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)";
        self.execute(sql, values![&key.tenant, face.subject, "{}", now]).await?;
        self.enrol_own(key, user, face, now).await
    }

    /// Enrols the face of a locked user, who is verified by it. `false` if another model compares now.
    async fn enrol_own(
        &mut self,
        key: &GalleryKey,
        user: UserId,
        face: &UploadedFace,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let UploadedFace { embedding, target, target_embedding, subject, .. } = face;
        // In the order of all locks: that of missing galleries first, then galleries by model.
        let mut embeddings = BTreeMap::from([(key.model.as_str(), embedding)]);
        embeddings.extend(target.as_deref().zip(target_embedding.as_ref()));
        if embeddings.len() > 1 {
            self.lock_deleted_galleries().await?;
        }
        for (model, embedding) in embeddings {
            let key = GalleryKey { tenant: key.tenant.clone(), model: model.to_owned() };
            self.enrol_for(&key, face, embedding, now).await?;
        }
        // Under the lock of the gallery, which a switch of the model takes too.
        if !self.is_active(&key.model, target.as_deref(), now).await? {
            return Ok(false);
        }
        let sql = "INSERT INTO user_faces (user_id, subject, verified_at) VALUES ($1, $2, $3) \
                   ON CONFLICT (user_id) DO UPDATE SET subject = excluded.subject, verified_at = excluded.verified_at";
        self.execute(sql, values![user, *subject, now]).await?;
        Ok(true)
    }

    /// Adds a face to the gallery of one model.
    async fn enrol_for(
        &mut self,
        key: &GalleryKey,
        face: &UploadedFace,
        embedding: &Embedding,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let locked = self.lock_or_create(key, embedding.dimensions()).await?;
        if embedding.dimensions() != locked.dimensions {
            return Err(StoreError::Misconfigured(format!(
                "the vectors of {} have {} numbers, not {}",
                key.model,
                locked.dimensions,
                embedding.dimensions()
            )));
        }
        let mut change = GalleryChange::new(self, key, locked, now);
        let (id, subject, embedding) = (face.vector, face.subject, embedding.clone());
        change.put(&StoredVector { id, subject, kind: VectorKind::Enrolled, embedding }).await?;
        change.finish().await
    }
}
