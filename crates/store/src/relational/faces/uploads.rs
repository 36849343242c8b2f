//! Photographs that verify users: the outcome of each, with the face of the first.
//!
//! An outcome is stored in one transaction with all that follows from it: subject, vector, and that the user is verified. An upload is
//! known by its place on the log, so that a message that is delivered again changes nothing. A second copy of a message has another
//! place; it is known by its content and by the file, or by its content alone where there is no file.

mod decide;

use contracts::api::LatestPhoto;
use contracts::{FaceVerifiedEvent, TenantId, UploadOutcome, UserId, whole_microseconds};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{unreadable, values};

pub use decide::UploadedFace;

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

/// What the photographs of a user have shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhotoStatus {
    /// Whether one verified the user, whose face is still enrolled.
    pub verified: bool,
    /// The outcome that was decided last. `None` without one, and after the end of the face that it is about.
    pub photo: Option<LatestPhoto>,
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

    /// When a photograph verified a user; `None` if none did, or its faces were erased since: with their subject, or when a consent ended.
    pub async fn verified_at(&self, user: UserId, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        // SQLite keeps the order of a cross join, and so finds the vectors of a subject by their index.
        let sql = "SELECT f.verified_at FROM user_faces f WHERE f.user_id = $1 AND EXISTS \
                   (SELECT 1 FROM face_galleries g CROSS JOIN face_vectors v WHERE g.tenant = $2 AND v.tenant = g.tenant \
                    AND v.model = g.model AND v.subject = f.subject AND v.kind = 'enrolled')";
        self.row(sql, values![user, tenant]).await?.map(|row| row.get("verified_at")).transpose()
    }

    /// What the photographs of a user have shown, from the database.
    pub(in crate::relational) async fn read_photo_status(
        &self,
        user: UserId,
        tenant: &TenantId,
    ) -> Result<PhotoStatus, StoreError> {
        // Before the outcome: one that verifies the user meanwhile is not shown beside "not verified".
        let verified = self.verified_at(user, tenant).await?.is_some();
        let photo = self.latest_photo(user).await?;
        // The outcome is hidden with the face that it is about. The row stays, for a message that is delivered again.
        let photo = photo.filter(|photo| verified || !photo.outcome.is_about_enrolled_face());
        Ok(PhotoStatus { verified, photo })
    }

    async fn latest_photo(&self, user: UserId) -> Result<Option<LatestPhoto>, StoreError> {
        let sql = "SELECT topic_id, log_partition, log_offset, outcome, decided_at FROM face_upload_outcomes \
                   WHERE user_id = $1 ORDER BY decided_at DESC, log_offset DESC LIMIT 1";
        let Some(row) = self.row(sql, values![user]).await? else { return Ok(None) };
        let (topic_id, code): (String, String) = (row.get("topic_id")?, row.get("outcome")?);
        let partition: i64 = row.get("log_partition")?;
        let partition = i32::try_from(partition).map_err(|error| unreadable("partition of an upload", &error))?;
        let id = FaceVerifiedEvent::id_at(&topic_id, partition, row.get("log_offset")?);
        let decided_at = row.get("decided_at")?;
        // An outcome that only a later version knows is not shown, so that its user still is.
        Ok(code.parse().ok().map(|outcome| LatestPhoto { id, outcome, decided_at }))
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
            if let Some((_, tenant)) = &user {
                transaction.changes_answers_about(tenant);
            }
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
}
