//! The audit log of accounts. It contains no credentials.

use contracts::UserId;
use jiff::Timestamp;
use uuid::Uuid;

use super::database::Relational;
use super::transaction::Transaction;
use super::values::{Row, Value, cursor_position, values};
use crate::{PageCursor, StoreError};

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// A UUIDv7 of its time.
    pub id: Uuid,
    /// Time of the event.
    pub at: Timestamp,
    /// Name of the event, such as `signed_in`.
    pub action: String,
    /// The affected user.
    pub user: Option<UserId>,
    /// The signed-in user who performed it, if any.
    pub actor: Option<UserId>,
    /// Address of the client.
    pub address: Option<String>,
    /// Further text.
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

/// Adds an entry.
const INSERT: &str = "INSERT INTO audit_log (id, at, action, user_id, actor_id, address, detail) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7)";

fn inserted(entry: &AuditEntry) -> Vec<Value> {
    let AuditEntry { id, at, action, user, actor, address, detail } = entry;
    values![*id, *at, action, *user, *actor, address, detail]
}

impl Transaction {
    /// Adds an entry, if there is one, with what it is about.
    pub(super) async fn add_audit_entry(&mut self, entry: Option<&AuditEntry>) -> Result<(), StoreError> {
        match entry {
            Some(entry) => self.execute(INSERT, inserted(entry)).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Relational {
    /// Adds an entry.
    pub async fn add_audit_entry(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.execute(INSERT, inserted(entry)).await.map(drop)
    }

    /// Entries, newest first, after a cursor; only those of `user`, if one is given.
    pub async fn audit_log(
        &self,
        user: Option<UserId>,
        cursor: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let ((at, id), limit) = (cursor_position(cursor), i64::from(limit));
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
