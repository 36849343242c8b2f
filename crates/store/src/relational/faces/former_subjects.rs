//! The ids of subjects that were deleted or merged. Documents and the log may still have them.

use std::collections::BTreeMap;

use contracts::{SubjectId, TenantId};
use jiff::{SignedDuration, Timestamp};

use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::deletion_times::{first_repeat, next_repeat};
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, values};

/// Reads ids by [`Relational::rows_by_ids`].
const MERGED_BY_ID: &str = "SELECT id, merged_into FROM face_former_subjects WHERE tenant = $1 AND merged_into IS NOT NULL \
    AND deleted_at IS NULL AND id IN ($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";

/// A deleted subject whose id may still come from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerSubject {
    /// Whose it was.
    pub tenant: TenantId,
    /// Its id.
    pub id: SubjectId,
    /// When it, or the subject into which it was merged, was deleted.
    pub deleted_at: Timestamp,
}

impl FormerSubject {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { tenant: row.tenant()?, id: SubjectId::from_uuid(row.get("id")?), deleted_at: row.get("deleted_at")? })
    }

    /// When it is forgotten after `now`; `None` once nothing with its id can come, at the end of `kept`.
    pub fn next(&self, now: Timestamp, kept: SignedDuration) -> Option<Timestamp> {
        next_repeat(self.deleted_at, now, kept)
    }
}

impl Relational {
    /// Deleted subjects that are to be forgotten again by `now`, at most `limit`, those that have waited longest first.
    pub async fn former_subjects_due(&self, now: Timestamp, limit: u32) -> Result<Vec<FormerSubject>, StoreError> {
        let sql =
            "SELECT tenant, id, deleted_at FROM face_former_subjects WHERE next_at <= $1 ORDER BY next_at LIMIT $2";
        self.rows(sql, values![now, i64::from(limit)]).await?.iter().map(FormerSubject::read).collect()
    }

    /// Says when a deleted subject is to be forgotten next. With `None` its id is deleted: nothing can have it any more.
    pub async fn set_next_forgetting(&self, former: &FormerSubject, next: Option<Timestamp>) -> Result<(), StoreError> {
        let FormerSubject { tenant, id, .. } = former;
        if let Some(next) = next {
            let sql = "UPDATE face_former_subjects SET next_at = $3 WHERE tenant = $1 AND id = $2";
            return self.execute(sql, values![tenant, *id, next]).await.map(drop);
        }
        let sql = "DELETE FROM face_former_subjects WHERE tenant = $1 AND id = $2";
        self.execute(sql, values![tenant, *id]).await.map(drop)
    }

    /// When the subject with this id was deleted, of any tenant. `None` if it was not, or nothing can have its id any more.
    pub async fn subject_deleted_at(&self, id: SubjectId) -> Result<Option<Timestamp>, StoreError> {
        // The table has only the subjects of the last weeks.
        let sql = "SELECT deleted_at FROM face_former_subjects WHERE id = $1 AND deleted_at IS NOT NULL";
        self.row(sql, values![id]).await?.map(|row| row.get("deleted_at")).transpose()
    }

    /// The tenant of a subject, also of one that was deleted or merged and whose id may still come. It reads all subjects.
    pub async fn tenant_of_subject(&self, id: SubjectId) -> Result<Option<TenantId>, StoreError> {
        let sql = "SELECT tenant FROM face_subjects WHERE id = $1 UNION SELECT tenant FROM face_former_subjects WHERE id = $1";
        self.row(sql, values![id]).await?.as_ref().map(Row::tenant).transpose()
    }

    /// Whether the id is that of a subject that was merged into one that is not deleted.
    pub async fn is_merged(&self, tenant: &TenantId, id: SubjectId) -> Result<bool, StoreError> {
        let sql = "SELECT id FROM face_former_subjects \
                   WHERE tenant = $1 AND id = $2 AND merged_into IS NOT NULL AND deleted_at IS NULL";
        Ok(self.row(sql, values![tenant, id]).await?.is_some())
    }

    /// The subjects that stay instead of those that were merged, by the ids of these. Ids that were not merged, or whose person is deleted, are
    /// left out.
    pub async fn merged_into(
        &self,
        tenant: &TenantId,
        ids: &[SubjectId],
    ) -> Result<BTreeMap<SubjectId, SubjectId>, StoreError> {
        let rows = self.rows_by_ids(MERGED_BY_ID, values![tenant], ids).await?;
        let ids_of =
            |row: &Row| Ok((SubjectId::from_uuid(row.get("id")?), SubjectId::from_uuid(row.get("merged_into")?)));
        rows.iter().map(ids_of).collect()
    }

    /// When a subject was deleted; `None` if it was not.
    pub async fn deleted_at(&self, tenant: &TenantId, id: SubjectId) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT deleted_at FROM face_former_subjects WHERE tenant = $1 AND id = $2";
        let row = self.row(sql, values![tenant, id]).await?;
        row.map(|row| row.get::<Option<Timestamp>>("deleted_at")).transpose().map(Option::flatten)
    }

    /// The ids that were merged into a subject, also after its deletion.
    pub async fn merged_subjects(&self, tenant: &TenantId, into: SubjectId) -> Result<Vec<SubjectId>, StoreError> {
        let sql = "SELECT id FROM face_former_subjects WHERE tenant = $1 AND merged_into = $2 ORDER BY id";
        let rows = self.rows(sql, values![tenant, into]).await?;
        rows.iter().map(|row| Ok(SubjectId::from_uuid(row.get("id")?))).collect()
    }
}

impl Transaction {
    /// Records that a subject is deleted, and with it all that were merged into it.
    pub(super) async fn record_deleted(
        &mut self,
        tenant: &TenantId,
        id: SubjectId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let next = first_repeat(now);
        let sql = "INSERT INTO face_former_subjects (tenant, id, deleted_at, next_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (tenant, id) DO UPDATE SET deleted_at = excluded.deleted_at, next_at = excluded.next_at";
        self.execute(sql, values![tenant, id, now, next]).await?;
        let sql =
            "UPDATE face_former_subjects SET deleted_at = $3, next_at = $4 WHERE tenant = $1 AND merged_into = $2";
        self.execute(sql, values![tenant, id, now, next]).await.map(drop)
    }

    /// Records that a subject is merged, and with it all that were merged into it before.
    pub(super) async fn record_merged(
        &mut self,
        tenant: &TenantId,
        from: SubjectId,
        into: SubjectId,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE face_former_subjects SET merged_into = $3 WHERE tenant = $1 AND merged_into = $2";
        self.execute(sql, values![tenant, from, into]).await?;
        let sql = "INSERT INTO face_former_subjects (tenant, id, merged_into) VALUES ($1, $2, $3) \
                   ON CONFLICT (tenant, id) DO UPDATE SET merged_into = excluded.merged_into";
        self.execute(sql, values![tenant, from, into]).await.map(drop)
    }
}
