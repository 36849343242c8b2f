//! Tenants of deleted users. Frames of theirs that were on their way are processed after the deletion, and what they leave is erased again.

use contracts::{TenantId, UserId};
use jiff::{SignedDuration, Timestamp};

use super::database::Relational;
use super::deletion_times::{first_repeat, next_repeat};
use super::transaction::Transaction;
use super::values::{Row, values};
use crate::StoreError;

/// The tenant of a deleted user, for which something may still come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTenant {
    /// The tenant. No other user gets it.
    pub tenant: TenantId,
    /// The id that its user had.
    pub user: UserId,
    /// When the user was deleted.
    pub deleted_at: Timestamp,
}

impl DeletedTenant {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let user = UserId::from_uuid(row.get("deleted_user")?);
        Ok(Self { tenant: row.tenant()?, user, deleted_at: row.get("deleted_at")? })
    }

    /// When it is erased after `now`; `None` once nothing can come for it, at the end of `kept`.
    pub fn next(&self, now: Timestamp, kept: SignedDuration) -> Option<Timestamp> {
        next_repeat(self.deleted_at, now, kept)
    }
}

impl Relational {
    /// Tenants of deleted users that are to be erased again by `now`, at most `limit`, those that have waited longest first.
    pub async fn deleted_tenants_due(&self, now: Timestamp, limit: u32) -> Result<Vec<DeletedTenant>, StoreError> {
        let sql = "SELECT deleted_user, tenant, deleted_at FROM deleted_tenants WHERE next_at <= $1 ORDER BY next_at LIMIT $2";
        self.rows(sql, values![now, i64::from(limit)]).await?.iter().map(DeletedTenant::read).collect()
    }

    /// Says when a tenant is to be erased next. With `None` it is not known any more: nothing can come for it.
    pub async fn set_next_erasure(&self, user: UserId, next: Option<Timestamp>) -> Result<(), StoreError> {
        if let Some(next) = next {
            let sql = "UPDATE deleted_tenants SET next_at = $2 WHERE deleted_user = $1";
            return self.execute(sql, values![user, next]).await.map(drop);
        }
        let sql = "DELETE FROM deleted_tenants WHERE deleted_user = $1";
        self.execute(sql, values![user]).await.map(drop)
    }

    /// The tenant of a deleted user. `None` if no such user was deleted, or nothing can come for its tenant any more.
    pub async fn tenant_of_deleted_user(&self, id: UserId) -> Result<Option<TenantId>, StoreError> {
        let sql = "SELECT tenant FROM deleted_tenants WHERE deleted_user = $1";
        self.row(sql, values![id]).await?.as_ref().map(Row::tenant).transpose()
    }
}

impl Transaction {
    /// Records that the user of a tenant is deleted.
    pub(super) async fn record_deleted_tenant(
        &mut self,
        tenant: &TenantId,
        user: UserId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO deleted_tenants (deleted_user, tenant, deleted_at, next_at) VALUES ($1, $2, $3, $4)";
        self.execute(sql, values![user, tenant, now, first_repeat(now)]).await.map(drop)
    }
}
