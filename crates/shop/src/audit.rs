//! Entries of the audit log. The store writes each in the transaction of its change.

use accounts::Actor;
use store::relational::AuditEntry;
use uuid::Uuid;

use crate::Shop;

/// Longest detail, in characters.
const MAX_DETAIL: usize = 500;

impl Shop {
    /// An entry about something that an actor does now. It is stored with the change that it is about.
    pub fn entry(&self, action: &str, actor: &Actor, detail: &str) -> AuditEntry {
        AuditEntry {
            id: Uuid::now_v7(),
            at: self.now(),
            action: action.to_owned(),
            user: None,
            actor: actor.user,
            address: actor.address.map(|address| address.to_string()),
            detail: Some(detail.chars().take(MAX_DETAIL).collect()),
        }
    }
}
