//! The switch from the model that compares faces to the one to which it is being changed.
//!
//! All faces are looked at before anything is locked, because that takes seconds for a large gallery and writes of faces wait for the locks.
//! Under the locks only the faces that changed meanwhile are looked at.
//!
//! Guarantees, from several processes: one transaction switches, and each face that was stored for the active model before it has a vector of
//! the target, or cannot have one. A face that is stored after it is one of the new model.

use std::collections::BTreeMap;

use contracts::{TenantId, VectorId};
use gallery::GalleryKey;
use jiff::Timestamp;

use super::models::{FaceModels, MODELS};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::values;

/// The outcome of a switch. Nothing was changed, if it is not `Switched`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwitchOutcome {
    /// The target is the active model.
    Switched,
    /// There are faces of which it is not known yet whether the target can have them.
    NotComplete,
    /// So many subjects would have no face any more.
    WouldLose(u64),
    /// The model is not being changed.
    NoChange,
}

/// Changed faces of a gallery that are looked up one by one under the locks. With more of them the whole gallery is read again.
const MAX_CHANGED: i64 = 200;

/// The versions of a tenant's galleries; 0 of one that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Versions {
    active: i64,
    target: i64,
}

/// A change of the model for which nothing was missing.
#[derive(Debug)]
pub(in crate::relational) struct Complete {
    models: FaceModels,
    target: String,
    /// The versions at which nothing was missing.
    tenants: BTreeMap<TenantId, Versions>,
}

impl Relational {
    /// Makes the target the active model, if it has all faces that it can have and no subject would be lost, unless that was accepted.
    /// Searches go on meanwhile; writes of faces wait while the model is switched.
    pub async fn switch_model(&self, now: Timestamp) -> Result<SwitchOutcome, StoreError> {
        match self.complete_change().await? {
            Ok(complete) => self.switch_complete(&complete, now).await,
            Err(refused) => Ok(refused),
        }
    }

    /// Whether the change can be completed now; if not, why.
    pub(in crate::relational) async fn complete_change(&self) -> Result<Result<Complete, SwitchOutcome>, StoreError> {
        let Some(models) = self.face_models().await? else { return Ok(Err(SwitchOutcome::NoChange)) };
        let Some(target) = models.target.clone() else { return Ok(Err(SwitchOutcome::NoChange)) };
        let (mut tenants, mut lost) = (BTreeMap::new(), 0);
        let mut after = None;
        loop {
            let mut snapshot = self.begin_snapshot().await?;
            let Some(tenant) = snapshot.next_tenant(&models.active, after.as_ref()).await? else { break };
            let gallery = GalleryKey { tenant, model: models.active.clone() };
            let versions = snapshot.versions(&gallery, &target).await?;
            match snapshot.without_target(&gallery, &target).await? {
                Some(without) => lost += without,
                None => return Ok(Err(SwitchOutcome::NotComplete)),
            }
            after = Some(gallery.tenant.clone());
            tenants.insert(gallery.tenant, versions);
        }
        if lost > 0 && !models.without_missing {
            return Ok(Err(SwitchOutcome::WouldLose(lost)));
        }
        Ok(Ok(Complete { models, target, tenants }))
    }

    /// Switches, if what changed meanwhile has vectors of the target too.
    pub(in crate::relational) async fn switch_complete(
        &self,
        complete: &Complete,
        now: Timestamp,
    ) -> Result<SwitchOutcome, StoreError> {
        let Complete { models, target, tenants } = complete;
        let active = &models.active;
        let mut transaction = self.begin().await?;
        // From here on nobody adds a face for the active model: each would need one of these locks.
        transaction.lock_deleted_galleries().await?;
        let sql = "UPDATE face_galleries SET version = version WHERE tenant > '' AND model = $1";
        transaction.execute(sql, values![active]).await?;
        let row = transaction.row(MODELS, values![]).await?;
        if row.as_ref().map(FaceModels::read).transpose()?.as_ref() != Some(models) {
            return Ok(SwitchOutcome::NotComplete);
        }
        let mut lost = 0;
        let mut after = None;
        while let Some(tenant) = transaction.next_tenant(active, after.as_ref()).await? {
            let gallery = GalleryKey { tenant, model: active.clone() };
            let seen = tenants.get(&gallery.tenant).copied();
            if !transaction.changes_are_embedded(&gallery, target, seen).await? {
                match transaction.without_target(&gallery, target).await? {
                    Some(without) => lost += without,
                    None => return Ok(SwitchOutcome::NotComplete),
                }
            }
            after = Some(gallery.tenant);
        }
        if lost > 0 && !models.without_missing {
            return Ok(SwitchOutcome::WouldLose(lost));
        }
        let sql = "UPDATE face_models SET active = target, target = NULL, without_missing = $4, changed_at = $3, \
                   worker = NULL, worker_until = NULL WHERE id = 1 AND active = $1 AND target = $2";
        if transaction.execute(sql, values![active, target, now, false]).await? == 0 {
            return Ok(SwitchOutcome::NoChange);
        }
        transaction.forget_gaps(target).await?;
        transaction.commit().await?;
        Ok(SwitchOutcome::Switched)
    }
}

impl Transaction {
    /// The number of subjects that would have no face of the target; `None` if a face is still to be made.
    async fn without_target(&mut self, gallery: &GalleryKey, target: &str) -> Result<Option<u64>, StoreError> {
        let coverage = self.coverage(gallery, target).await?;
        Ok(coverage.is_complete().then_some(coverage.without.len() as u64))
    }

    /// The versions of the galleries of both models.
    async fn versions(&mut self, gallery: &GalleryKey, target: &str) -> Result<Versions, StoreError> {
        let sql = "SELECT model, version FROM face_galleries WHERE tenant = $1 AND model IN ($2, $3)";
        let rows = self.rows(sql, values![&gallery.tenant, &gallery.model, target]).await?;
        let mut versions = Versions { active: 0, target: 0 };
        for row in rows {
            let (model, version): (String, i64) = (row.get("model")?, row.get("version")?);
            *if model == target { &mut versions.target } else { &mut versions.active } = version;
        }
        Ok(versions)
    }

    /// Whether every face that changed since `seen` has a vector of the target, and the target lost none. `false` also where that is not known:
    /// then the whole gallery has to be looked at.
    async fn changes_are_embedded(
        &mut self,
        gallery: &GalleryKey,
        target: &str,
        seen: Option<Versions>,
    ) -> Result<bool, StoreError> {
        let Some(seen) = seen else { return Ok(false) };
        if self.versions(gallery, target).await? == seen {
            return Ok(true);
        }
        let tenant = &gallery.tenant;
        let sql = "SELECT id FROM face_vector_removals WHERE tenant = $1 AND model = $2 AND version > $3 \
                   ORDER BY version, id LIMIT 1";
        if self.row(sql, values![tenant, target, seen.target]).await?.is_some() {
            return Ok(false);
        }
        let sql = "SELECT id FROM face_vectors WHERE tenant = $1 AND model = $2 AND version > $3 \
                   ORDER BY version, id LIMIT $4";
        let changed = self.rows(sql, values![tenant, &gallery.model, seen.active, MAX_CHANGED]).await?;
        let embedded = GalleryKey { tenant: tenant.clone(), model: target.to_owned() };
        for row in &changed {
            if self.owner(&embedded, VectorId::from_uuid(row.get("id")?)).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(changed.len() < MAX_CHANGED as usize)
    }
}

#[cfg(test)]
mod tests {
    use gallery::suite::{face, key, subject};
    use tempfile::TempDir;

    use super::*;
    use crate::relational::test_database::on_fresh;
    use crate::relational::{Metadata, NewSubject, SourcedVector, SubjectWriteOutcome, VectorWriteOutcome};

    const TARGET: &str = "another";

    /// Enrols a face of a new subject, and embeds it with the target too where that is said.
    async fn enrol(store: &Relational, number: u128, with_target: bool) {
        let (gallery, vector, now) = (key("a"), face(number, number), Timestamp::now());
        let new =
            NewSubject { id: subject(number), external_id: None, name: None, metadata: Metadata::new(), consent: None };
        let added = store.add_subject(&gallery.tenant, None, &new, now).await.unwrap();
        assert_eq!(added, SubjectWriteOutcome::Stored);
        assert_eq!(
            store.put_vectors(&gallery, std::slice::from_ref(&vector), now).await.unwrap(),
            VectorWriteOutcome::Stored
        );
        if with_target {
            let sourced = [SourcedVector { vector, source: None }];
            let put = store.put_reembedded(&gallery, TARGET, &sourced, now).await.unwrap();
            assert_eq!(put, VectorWriteOutcome::Stored);
        }
    }

    /// What happens between the look at all faces and the locks is seen.
    async fn a_switch_sees_what_changed_after_it_looked(store: &Relational) {
        let now = Timestamp::now();
        store.migrate().await.unwrap();
        enrol(store, 1, true).await;
        store.begin_model_change(&key("a").model, TARGET, false, now).await.unwrap();
        let complete = store.complete_change().await.unwrap().unwrap();

        enrol(store, 2, false).await;
        let switched = store.switch_complete(&complete, now).await.unwrap();
        assert_eq!(switched, SwitchOutcome::NotComplete, "a new face has no vector of the target");

        let sourced = [SourcedVector { vector: face(2, 2), source: None }];
        store.put_reembedded(&key("a"), TARGET, &sourced, now).await.unwrap();
        let target = GalleryKey { model: TARGET.to_owned(), ..key("a") };
        assert_eq!(store.remove_vectors(&target, &[face(1, 1).id], now).await.unwrap(), 1);
        let switched = store.switch_complete(&complete, now).await.unwrap();
        assert_eq!(switched, SwitchOutcome::NotComplete, "the target lost a vector");

        let sourced = [SourcedVector { vector: face(1, 1), source: None }];
        store.put_reembedded(&key("a"), TARGET, &sourced, now).await.unwrap();
        enrol(store, 3, true).await;
        store.statements.take_runs();
        assert_eq!(store.switch_complete(&complete, now).await.unwrap(), SwitchOutcome::Switched);
        let runs = store.statements.take_runs();
        assert!(
            !runs.iter().any(|sql| sql.contains("source FROM face_vectors")),
            "only what changed is read: {runs:#?}"
        );
        assert_eq!(store.switch_complete(&complete, now).await.unwrap(), SwitchOutcome::NotComplete, "it was switched");
    }

    #[tokio::test]
    async fn a_switch_sees_what_changed_after_it_looked_on_sqlite() {
        let folder = TempDir::new().unwrap();
        let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
        a_switch_sees_what_changed_after_it_looked(&store).await;
    }

    #[tokio::test]
    #[ignore = "needs postgres"]
    async fn a_switch_sees_what_changed_after_it_looked_on_postgresql() {
        on_fresh(async |url| {
            let store = Relational::postgres(&url, 2).await.unwrap();
            a_switch_sees_what_changed_after_it_looked(&store).await;
            store.close().await;
        })
        .await;
    }
}
