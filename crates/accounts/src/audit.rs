//! The audit log: changes of accounts and sign-ins, with their actors.

use std::net::IpAddr;

use contracts::UserId;
use store::PageCursor;
use store::relational::AuditEntry;
use uuid::Uuid;

use crate::error::AccountError;
use crate::service::AccountsService;

/// Who performs an operation on an account, for the audit log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Actor {
    /// The signed-in user, if any.
    pub user: Option<UserId>,
    /// The client's address; `None` for an operation that does not come over the network.
    pub address: Option<IpAddr>,
}

impl AccountsService {
    /// Entries of the audit log, newest first, after a cursor; only those of `user`, if one is given.
    pub async fn audit_log(
        &self,
        user: Option<UserId>,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, AccountError> {
        Ok(self.store.audit_log(user, after, limit).await?)
    }

    /// Adds an entry. A failure is logged and does not fail the operation.
    pub(crate) async fn audit(&self, action: &str, user: Option<UserId>, actor: &Actor, detail: Option<String>) {
        let entry = AuditEntry {
            id: Uuid::now_v7(),
            at: self.clock.now(),
            action: action.to_owned(),
            user,
            actor: actor.user,
            address: actor.address.map(|address| address.to_string()),
            detail,
        };
        if let Err(error) = self.store.add_audit_entry(&entry).await {
            tracing::warn!(error = error.to_string(), action, "the audit log could not be written");
        }
    }
}
