//! Checkpoints: results by the key of what they were made from. The first result of a key stays.

use contracts::whole_microseconds;
use jiff::{SignedDuration, Timestamp};

use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

/// Maximum length of a result in bytes.
pub const MAX_CHECKPOINT_BYTES: usize = 16 << 20;
/// How long a result is kept that no window has.
pub(super) const RETENTION: SignedDuration = SignedDuration::from_hours(24 * 90);

/// A result to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCheckpoint {
    /// What it was made from, as a hash.
    pub key: [u8; 32],
    /// What it is, such as `window`.
    pub kind: &'static str,
    /// The provider that made it.
    pub provider: String,
    /// The provider's model.
    pub model: String,
    /// The result, at most [`MAX_CHECKPOINT_BYTES`].
    pub body: Vec<u8>,
}

/// A result that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRecord {
    /// What it is.
    pub kind: String,
    /// The provider that made it.
    pub provider: String,
    /// The provider's model.
    pub model: String,
    /// The result.
    pub body: Vec<u8>,
}

impl CheckpointRecord {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let (kind, body) = (row.get("kind")?, row.get("body")?);
        Ok(Self { kind, provider: row.get("provider")?, model: row.get("model")?, body })
    }
}

impl Relational {
    /// The result of a key.
    pub async fn checkpoint(&self, key: &[u8; 32]) -> Result<Option<CheckpointRecord>, StoreError> {
        let sql = "SELECT kind, provider, model, body FROM checkpoints WHERE key = $1";
        self.row(sql, values![&key[..]]).await?.as_ref().map(CheckpointRecord::read).transpose()
    }

    /// Keeps a result for 90 days, unless its key has one.
    ///
    /// # Errors
    /// `Fatal` for more than [`MAX_CHECKPOINT_BYTES`].
    pub async fn put_checkpoint(&self, checkpoint: &NewCheckpoint, now: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        transaction.put_checkpoint(checkpoint, now).await?;
        transaction.commit().await
    }
}

impl Transaction {
    pub(super) async fn put_checkpoint(
        &mut self,
        checkpoint: &NewCheckpoint,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let NewCheckpoint { key, kind, provider, model, body } = checkpoint;
        if body.len() > MAX_CHECKPOINT_BYTES {
            let length = body.len();
            return Err(StoreError::Fatal(format!(
                "a checkpoint has {length} bytes; at most {MAX_CHECKPOINT_BYTES} are kept"
            )));
        }
        let expiry = whole_microseconds(now).checked_add(RETENTION).unwrap_or(Timestamp::MAX);
        let sql = "INSERT INTO checkpoints (key, kind, provider, model, body, expires_at) VALUES ($1, $2, $3, $4, $5, $6) \
                   ON CONFLICT DO NOTHING";
        self.execute(sql, values![&key[..], *kind, provider, model, &body[..], expiry]).await.map(drop)
    }

    /// Keeps a result for good: a window has it.
    pub(super) async fn keep_checkpoint(&mut self, key: &[u8; 32]) -> Result<(), StoreError> {
        let sql = "UPDATE checkpoints SET expires_at = NULL WHERE key = $1";
        if self.execute(sql, values![&key[..]]).await? == 0 {
            return Err(StoreError::Unavailable(
                "the text of a window is not kept any more; it is made again".to_owned(),
            ));
        }
        Ok(())
    }
}
