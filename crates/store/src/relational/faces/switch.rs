//! The switch from the model that compares faces to the one to which it is being changed.
//!
//! All galleries are checked before anything is locked, because that takes seconds for a large one and writes of faces wait for the locks.
//! Under the locks only the faces that changed since are looked up, and not more than [`MAX_CHANGED`]: with more, or where a subject might be
//! lost, nothing is switched, and the next call checks again.
//!
//! Guarantees, from several processes: one transaction switches, and each face that was stored for the active model before it has a vector of
//! the target, or cannot have one. A face that is stored after it is one of the new model.

use std::collections::BTreeMap;

use contracts::{TenantId, VectorId};
use gallery::GalleryKey;
use jiff::Timestamp;

use super::models::FaceModels;
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::values;

/// The outcome of a switch. Nothing was changed, if it is not `Switched`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchOutcome {
    /// The target is the active model.
    Switched,
    /// It is not known of all faces whether the target can have them: some are still to be made, or faces or the target changed during the
    /// call. A later call may switch.
    NotComplete,
    /// So many subjects would have no face any more.
    WouldLose(u64),
    /// The model is not being changed, or not any more: another process has switched or ended the change.
    NoChange,
}

/// Maximum number of changed faces, of all galleries, that are looked up one by one under the locks.
const MAX_CHANGED: u32 = 1_000;

/// A change of the model, after a check of all galleries that found nothing missing.
#[derive(Debug)]
pub(in crate::relational) struct CheckedChange {
    models: FaceModels,
    target: String,
    /// The galleries of the active model, as they were at the beginning of the check.
    galleries: BTreeMap<TenantId, Versions>,
}

/// What shows whether the faces of a tenant have changed. 0 of a gallery that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Versions {
    /// Version of the gallery of the active model.
    active: i64,
    /// That of the target.
    target: i64,
    /// Number of faces that the target cannot have: the version stays when one of them is to be tried again.
    gaps: i64,
}

impl Relational {
    /// Makes the target the active model, if it has all faces that it can have and no subject would be lost, unless that was accepted.
    /// Searches go on meanwhile; writes of faces wait while the model is switched.
    pub async fn switch_model(&self, now: Timestamp) -> Result<SwitchOutcome, StoreError> {
        match self.check_change().await? {
            Ok(checked) => self.switch_checked(&checked, now).await,
            Err(outcome) => Ok(outcome),
        }
    }

    /// Checks all galleries without a lock. `Err` says why the model cannot be switched now.
    pub(in crate::relational) async fn check_change(&self) -> Result<Result<CheckedChange, SwitchOutcome>, StoreError> {
        let Some(models) = self.face_models().await? else { return Ok(Err(SwitchOutcome::NoChange)) };
        let Some(target) = models.target.clone() else { return Ok(Err(SwitchOutcome::NoChange)) };
        // Before the faces are read, so that each change during the check is noticed.
        let galleries = self.begin_snapshot().await?.versions(&models.active, &target).await?;
        let mut lost = 0;
        for tenant in galleries.keys() {
            let gallery = GalleryKey { tenant: tenant.clone(), model: models.active.clone() };
            let coverage = self.coverage(&gallery, &target).await?;
            if !coverage.is_complete() {
                return Ok(Err(SwitchOutcome::NotComplete));
            }
            lost += coverage.without.len() as u64;
        }
        if lost > 0 && !models.without_missing {
            return Ok(Err(SwitchOutcome::WouldLose(lost)));
        }
        Ok(Ok(CheckedChange { models, target, galleries }))
    }

    /// Switches, if the target has the faces that changed since the check too.
    pub(in crate::relational) async fn switch_checked(
        &self,
        checked: &CheckedChange,
        now: Timestamp,
    ) -> Result<SwitchOutcome, StoreError> {
        let CheckedChange { models, target, .. } = checked;
        let mut transaction = self.begin().await?;
        // From here on nobody adds a face for the active model or begins another change: each would need one of these locks.
        transaction.lock_deleted_galleries().await?;
        let sql = "UPDATE face_galleries SET version = version WHERE tenant > '' AND model = $1";
        transaction.execute(sql, values![&models.active]).await?;
        let present = transaction.lock_models().await?;
        if present.as_ref() != Some(models) {
            let is_changing = present.is_some_and(|present| present.target.is_some());
            return Ok(if is_changing { SwitchOutcome::NotComplete } else { SwitchOutcome::NoChange });
        }
        if !transaction.changes_are_embedded(checked).await? {
            return Ok(SwitchOutcome::NotComplete);
        }
        let sql = "UPDATE face_models SET active = target, target = NULL, without_missing = $2, changed_at = $1, \
                   worker = NULL, worker_until = NULL WHERE id = 1";
        transaction.execute(sql, values![now, false]).await?;
        transaction.forget_gaps(target).await?;
        transaction.commit().await?;
        Ok(SwitchOutcome::Switched)
    }
}

impl Transaction {
    /// Those of all tenants with a gallery of the active model.
    async fn versions(&mut self, active: &str, target: &str) -> Result<BTreeMap<TenantId, Versions>, StoreError> {
        let mut galleries = BTreeMap::new();
        let sql = "SELECT tenant, version FROM face_galleries WHERE tenant > '' AND model = $1";
        for row in self.rows(sql, values![active]).await? {
            galleries.insert(row.tenant()?, Versions { active: row.get("version")?, ..Versions::default() });
        }
        for row in self.rows(sql, values![target]).await? {
            if let Some(versions) = galleries.get_mut(&row.tenant()?) {
                versions.target = row.get("version")?;
            }
        }
        let sql = "SELECT tenant, count(*) AS gaps FROM face_model_gaps WHERE model = $1 GROUP BY tenant";
        for row in self.rows(sql, values![target]).await? {
            if let Some(versions) = galleries.get_mut(&row.tenant()?) {
                versions.gaps = row.get("gaps")?;
            }
        }
        Ok(galleries)
    }

    /// Whether the target has each face that changed since the check. `false` also where that would take long to find out.
    async fn changes_are_embedded(&mut self, checked: &CheckedChange) -> Result<bool, StoreError> {
        let CheckedChange { models, target, galleries } = checked;
        let mut looked_up = 0;
        for (tenant, present) in self.versions(&models.active, target).await? {
            let before = galleries.get(&tenant).copied().unwrap_or_default();
            if before == present {
                continue;
            }
            let [active, target] =
                [&models.active, target].map(|model| GalleryKey { tenant: tenant.clone(), model: model.clone() });
            let sql = "SELECT id FROM face_vector_removals WHERE tenant = $1 AND model = $2 AND version > $3 \
                       ORDER BY version, id LIMIT $4";
            let removed = self.ids_after(sql, &target, before.target).await?;
            let sql = "SELECT id FROM face_vectors WHERE tenant = $1 AND model = $2 AND version > $3 \
                       ORDER BY version, id LIMIT $4";
            let written = self.ids_after(sql, &active, before.active).await?;
            looked_up += removed.len() + written.len();
            // A subject that lost a vector may have only faces left that the target cannot have.
            let may_lose = !models.without_missing && present.gaps > 0 && !removed.is_empty();
            if may_lose || before.gaps != present.gaps || looked_up > MAX_CHANGED as usize {
                return Ok(false);
            }
            for id in removed.into_iter().chain(written) {
                if self.owner(&target, id).await?.is_none() && self.owner(&active, id).await?.is_some() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The ids of vectors that were written or removed after a version of a gallery, at most one more than [`MAX_CHANGED`].
    async fn ids_after(
        &mut self,
        sql: &'static str,
        gallery: &GalleryKey,
        version: i64,
    ) -> Result<Vec<VectorId>, StoreError> {
        let limit = i64::from(MAX_CHANGED) + 1;
        let rows = self.rows(sql, values![&gallery.tenant, &gallery.model, version, limit]).await?;
        rows.iter().map(|row| Ok(VectorId::from_uuid(row.get("id")?))).collect()
    }
}

#[cfg(test)]
mod tests;
