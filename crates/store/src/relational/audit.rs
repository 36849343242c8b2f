//! Who did what to accounts, for whoever must find out later. Nothing in it signs anybody in.

use contracts::UserId;
use jiff::Timestamp;
use uuid::Uuid;

use super::database::Relational;
use super::values::{Row, after, values};
use crate::{Cursor, StoreError};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its id, of its time.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// What, in one word.
    pub action: String,
    /// To whom.
    pub user: Option<UserId>,
    /// By whom, where it was somebody else or nobody signed in.
    pub actor: Option<UserId>,
    /// From which address.
    pub address: Option<String>,
    /// More about it.
    pub detail: Option<String>,
}

impl AuditEntry {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            at: row.get("at")?,
            action: row.get("action")?,
            user: row.get::<Option<Uuid>>("user_id")?.map(UserId::from_uuid),
            actor: row.get::<Option<Uuid>>("actor_id")?.map(UserId::from_uuid),
            address: row.get("address")?,
            detail: row.get("detail")?,
        })
    }
}

impl Relational {
    /// Notes what happened.
    pub async fn note(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        let sql = "INSERT INTO audit_log (id, at, action, user_id, actor_id, address, detail) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let AuditEntry { id, at, action, user, actor, address, detail } = entry;
        self.execute(sql, values![*id, *at, action, *user, *actor, address, detail]).await.map(drop)
    }

    /// What happened, newest first, after a cursor; to one user, if it is given.
    pub async fn audit_log(
        &self,
        user: Option<UserId>,
        cursor: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let ((at, id), limit) = (after(cursor), i64::from(limit));
        let rows = match user {
            Some(user) => {
                let sql = "SELECT id, at, action, user_id, actor_id, address, detail FROM audit_log \
                           WHERE user_id = $4 AND (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3";
                self.rows(sql, values![at, id, limit, user]).await?
            }
            None => {
                let sql = "SELECT id, at, action, user_id, actor_id, address, detail FROM audit_log \
                           WHERE (at, id) < ($1, $2) ORDER BY at DESC, id DESC LIMIT $3";
                self.rows(sql, values![at, id, limit]).await?
            }
        };
        rows.iter().map(AuditEntry::read).collect()
    }
}
