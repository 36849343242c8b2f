//! Photographs that verify users: the outcome of each, with the face of the first.
//!
//! An outcome is stored in one transaction with all that follows from it: subject, vector, and that the user is verified. An upload is
//! known by its place on the log, so that a message that is delivered again changes nothing. A second copy of a message has another
//! place; it is known by its content and by the file, or by its content alone where there is no file.

use std::collections::BTreeMap;

use contracts::{SubjectId, TenantId, UploadOutcome, UserId, VectorId, whole_microseconds};
use gallery::{Embedding, GalleryKey, Identity, Look, OrderedSearch, StoredVector, VectorKind, decide};
use jiff::Timestamp;
use uuid::Uuid;

use super::gallery_change::GalleryChange;
use crate::StoreError;
use crate::relational::database::{Relational, Transaction};
use crate::relational::values::{unreadable, values};

/// Where the message of an upload is on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPlace {
    /// Id of the topic.
    pub topic_id: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// An upload that is to be decided.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Its place.
    pub place: UploadPlace,
    /// SHA-256 of user and path.
    pub message: [u8; 32],
    /// Which file it is; `None` without one.
    pub file: Option<String>,
}

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

/// A stored outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecidedUpload {
    /// Its outcome.
    pub outcome: UploadOutcome,
    /// The user with its tenant; `None` if there is none.
    pub user: Option<(UserId, TenantId)>,
    /// Which file it was.
    pub file: Option<String>,
    /// When that was decided.
    pub decided_at: Timestamp,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadDecision {
    /// This is the outcome, now or from an earlier delivery.
    Decided(DecidedUpload),
    /// The message is a copy of one that has an outcome. Nothing was stored.
    Copy,
    /// The face is not that of the model that compares now. Nothing was stored; embed it again.
    ModelChanged,
}

impl Relational {
    /// The outcome of the upload at this place.
    pub async fn upload_outcome(&self, place: &UploadPlace) -> Result<Option<DecidedUpload>, StoreError> {
        self.begin_snapshot().await?.outcome_at(place).await
    }

    /// Counts a process that begins to decide an upload. Returns the number of all of them, until there is an outcome.
    pub async fn begin_upload(&self, place: &UploadPlace, now: Timestamp) -> Result<i64, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "INSERT INTO face_upload_attempts (topic_id, log_partition, log_offset, attempts, began_at) \
                   VALUES ($1, $2, $3, 1, $4) ON CONFLICT (topic_id, log_partition, log_offset) \
                   DO UPDATE SET attempts = face_upload_attempts.attempts + 1 RETURNING attempts";
        let values = values![&place.topic_id, i64::from(place.partition), place.offset, now];
        let row = transaction.row(sql, values).await?;
        transaction.commit().await?;
        row.map_or(Ok(1), |row| row.get("attempts"))
    }

    /// Stores why an upload is refused. With a user who is disabled or deleted, that is [`UploadOutcome::UnknownUser`].
    pub async fn refuse_upload(
        &self,
        upload: &NewUpload,
        user: Option<UserId>,
        outcome: UploadOutcome,
        now: Timestamp,
    ) -> Result<UploadDecision, StoreError> {
        let mut transaction = self.begin().await?;
        let user = transaction.lock_if_active(user).await?;
        let outcome = if user.is_some() { outcome } else { UploadOutcome::UnknownUser };
        if let Some(known) = transaction.earlier(upload).await? {
            return Ok(known);
        }
        self.record(transaction, upload, user, outcome, now).await
    }

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

    /// When a photograph verified a user; `None` if none did, or its faces were erased since: with their subject, or when a consent ended.
    pub async fn verified_at(&self, user: UserId, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        // SQLite keeps the order of a cross join, and so finds the vectors of a subject by their index.
        let sql = "SELECT f.verified_at FROM user_faces f WHERE f.user_id = $1 AND EXISTS \
                   (SELECT 1 FROM face_galleries g CROSS JOIN face_vectors v WHERE g.tenant = $2 AND v.tenant = g.tenant \
                    AND v.model = g.model AND v.subject = f.subject AND v.kind = 'enrolled')";
        self.row(sql, values![user, tenant]).await?.map(|row| row.get("verified_at")).transpose()
    }

    /// Stores an outcome as the last step of its transaction.
    async fn record(
        &self,
        mut transaction: Transaction,
        upload: &NewUpload,
        user: Option<(UserId, TenantId)>,
        outcome: UploadOutcome,
        now: Timestamp,
    ) -> Result<UploadDecision, StoreError> {
        let NewUpload { place, message, file } = upload;
        let UploadPlace { topic_id, partition, offset } = place;
        // As it is read back: an event that is sent again is the same.
        let now = whole_microseconds(now);
        let sql = "INSERT INTO face_upload_outcomes \
                   (topic_id, log_partition, log_offset, user_id, outcome, message, file, decided_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
        let id = user.as_ref().map(|(id, _)| *id);
        let (partition, code) = (i64::from(*partition), outcome.as_str());
        let row = values![topic_id, partition, *offset, id, code, &message[..], file, now];
        if transaction.execute(sql, row).await? == 1 {
            let sql = "DELETE FROM face_upload_attempts \
                       WHERE topic_id = $1 AND log_partition = $2 AND log_offset = $3";
            transaction.execute(sql, values![topic_id, partition, *offset]).await?;
            transaction.commit().await?;
            let file = file.clone();
            return Ok(UploadDecision::Decided(DecidedUpload { outcome, user, file, decided_at: now }));
        }
        // Another process, which had the partition before, stored one in the meantime; all of this transaction is undone.
        drop(transaction);
        let stored = self.upload_outcome(place).await?;
        let stored = stored.ok_or_else(|| StoreError::Unavailable("an outcome was stored and is gone".to_owned()))?;
        Ok(UploadDecision::Decided(stored))
    }
}

impl Transaction {
    async fn outcome_at(&mut self, place: &UploadPlace) -> Result<Option<DecidedUpload>, StoreError> {
        let sql = "SELECT o.outcome, o.user_id, o.file, o.decided_at, users.tenant FROM face_upload_outcomes o \
                   LEFT JOIN users ON users.id = o.user_id \
                   WHERE o.topic_id = $1 AND o.log_partition = $2 AND o.log_offset = $3";
        let values = values![&place.topic_id, i64::from(place.partition), place.offset];
        let Some(row) = self.row(sql, values).await? else { return Ok(None) };
        let code: String = row.get("outcome")?;
        let user = row.get::<Option<Uuid>>("user_id")?.map(UserId::from_uuid);
        let tenant = row.get::<Option<Uuid>>("tenant")?.map(TenantId::from_uuid);
        Ok(Some(DecidedUpload {
            outcome: code.parse().map_err(|error: String| unreadable("outcome of an upload", &error))?,
            user: user.zip(tenant),
            file: row.get("file")?,
            decided_at: row.get("decided_at")?,
        }))
    }

    /// What is stored of this upload, or of another copy of it. After its user is locked, so that two copies do not pass each other.
    async fn earlier(&mut self, upload: &NewUpload) -> Result<Option<UploadDecision>, StoreError> {
        if let Some(stored) = self.outcome_at(&upload.place).await? {
            return Ok(Some(UploadDecision::Decided(stored)));
        }
        let message = &upload.message[..];
        let copy = match &upload.file {
            Some(file) => {
                let sql = "SELECT outcome FROM face_upload_outcomes WHERE message = $1 AND file = $2 LIMIT 1";
                self.row(sql, values![message, file]).await?
            }
            // The file of the first copy is deleted, and nothing tells a file that never was from it.
            None => {
                let sql = "SELECT outcome FROM face_upload_outcomes WHERE message = $1 LIMIT 1";
                self.row(sql, values![message]).await?
            }
        };
        Ok(copy.map(|_| UploadDecision::Copy))
    }

    /// Locks a user until this transaction ends. `None` if it is disabled or deleted.
    async fn lock_if_active(&mut self, user: Option<UserId>) -> Result<Option<(UserId, TenantId)>, StoreError> {
        let Some(user) = user else { return Ok(None) };
        if !self.lock_active_user(user).await? {
            return Ok(None);
        }
        let row = self.row("SELECT tenant FROM users WHERE id = $1", values![user]).await?;
        row.map(|row| Ok((user, TenantId::from_uuid(row.get("tenant")?)))).transpose()
    }

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
        let vectors = self.vectors_of(key, subject).await.map_err(super::read::store_error)?;
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
            return Err(StoreError::Fatal(format!(
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
