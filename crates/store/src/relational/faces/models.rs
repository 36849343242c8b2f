//! The model that compares faces, and its change to another one.
//!
//! One model is active for all tenants. A change names its target; a process makes the vectors of the target (`reembedding.rs`), and
//! [`Relational::switch_model`] (`switch.rs`) makes it the active one when nothing is missing. The vectors of the model before stay, so a
//! change back finds them.
//!
//! Guarantee: one process at a time makes vectors, until its lease ends.

use jiff::Timestamp;
use uuid::Uuid;

use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

/// The models that compare, or will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaceModels {
    /// Name of the one that compares.
    pub active: String,
    /// Name of the one to which it is being changed.
    pub target: Option<String>,
    /// Whether it is changed although subjects have no face for the target.
    pub without_missing: bool,
}

const MODELS: &str = "SELECT active, target, without_missing FROM face_models WHERE id = 1";

impl FaceModels {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            active: row.get("active")?,
            target: row.get("target")?,
            without_missing: row.get("without_missing")?,
        })
    }
}

impl Relational {
    /// The model that compares, and the one to which it is being changed. `None` before the first face: the program chooses the model.
    pub async fn face_models(&self) -> Result<Option<FaceModels>, StoreError> {
        self.row(MODELS, values![]).await?.as_ref().map(FaceModels::read).transpose()
    }

    /// Begins a change to `target`; `active` is the model that compares, if none is stored. What the target could not have before is tried
    /// again. To the active model: ends the change that was begun.
    pub async fn begin_model_change(
        &self,
        active: &str,
        target: &str,
        without_missing: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        transaction.store_active(active, now).await?;
        let sql = "UPDATE face_models SET target = CASE WHEN active = $1 THEN NULL ELSE $1 END, without_missing = $2, \
                   worker = NULL, worker_until = NULL WHERE id = 1";
        transaction.execute(sql, values![target, without_missing]).await?;
        transaction.forget_gaps(target).await?;
        transaction.commit().await
    }

    /// Takes the work of making vectors of the target until a time, or keeps it. `false` if another process has it, or there is none.
    pub async fn take_model_change(&self, worker: Uuid, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE face_models SET worker = $1, worker_until = $3 WHERE id = 1 AND target IS NOT NULL \
                   AND (worker IS NULL OR worker = $1 OR worker_until < $2)";
        Ok(self.execute(sql, values![worker, now, until]).await? == 1)
    }
}

impl Transaction {
    /// Stores the active model, if none is stored.
    async fn store_active(&mut self, active: &str, now: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO face_models (id, active, without_missing, changed_at) VALUES (1, $1, $2, $3) \
                   ON CONFLICT (id) DO NOTHING";
        self.execute(sql, values![active, false, now]).await.map(drop)
    }

    /// The models, locked until this transaction ends: no change begins or ends meanwhile. After the locks of galleries.
    pub(super) async fn lock_models(&mut self) -> Result<Option<FaceModels>, StoreError> {
        self.execute("UPDATE face_models SET active = active WHERE id = 1", values![]).await?;
        self.row(MODELS, values![]).await?.as_ref().map(FaceModels::read).transpose()
    }

    /// Whether a model is the active one and being changed to `target`. Without a stored active model, it becomes it.
    pub(super) async fn is_active(
        &mut self,
        model: &str,
        target: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.row(MODELS, values![]).await?.is_none() {
            self.store_active(model, now).await?;
        }
        let row = self.row(MODELS, values![]).await?;
        let models = row.as_ref().map(FaceModels::read).transpose()?;
        Ok(models.is_some_and(|models| models.active == model && models.target.as_deref() == target))
    }

    /// Forgets which faces a model cannot have.
    pub(super) async fn forget_gaps(&mut self, model: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM face_model_gaps WHERE model = $1", values![model]).await.map(drop)
    }
}
