//! Erasing again the tenants of deleted users.
//!
//! Frames that were on their way when a user was deleted are processed after the erasers ran. Their results, detections, alerts and kept images
//! are erased by the same erasers, as long as any can come.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::{TopicRole, Topics};
use jiff::{SignedDuration, Timestamp};
use store::relational::DeletedTenant;
use store::{Blobs, Documents, Erased, Relational, StoreError, TenantEraser};

use crate::Deps;
use crate::forget::{ids_kept, retention};
use crate::repeated_deletions::RepeatedDeletion;
use crate::uploads::{PhotoEraser, UploadFolder};

/// The erasers of all stores, and that of photographs that wait if there is a folder of them.
pub fn tenant_erasers(
    documents: &Arc<dyn Documents>,
    blobs: &Arc<dyn Blobs>,
    database: &Relational,
    folder: Option<&Arc<UploadFolder>>,
) -> Vec<Arc<dyn TenantEraser>> {
    let mut erasers = store::tenant_erasers(documents, blobs, database);
    erasers.extend(folder.map(|folder| -> Arc<dyn TenantEraser> { Arc::new(PhotoEraser(Arc::clone(folder))) }));
    erasers
}

#[async_trait]
impl RepeatedDeletion for DeletedTenant {
    const WHAT: &'static str = "data of deleted users";

    async fn due(database: &Relational, now: Timestamp, limit: u32) -> Result<Vec<Self>, StoreError> {
        database.deleted_tenants_due(now, limit).await
    }

    async fn repeat(&self, deps: &Deps) -> Result<(), StoreError> {
        let folder = deps.uploads.as_ref().map(|uploads| &uploads.folder);
        let (mut found, mut failure) = (Vec::new(), Ok(()));
        for eraser in tenant_erasers(&deps.documents, &deps.blobs, &deps.database, folder) {
            match eraser.erase(&self.tenant).await {
                Ok(erased) if erased.count > 0 => found.push(erased),
                Ok(_) => {}
                // The other stores do not wait for this one. It is erased at the next repeat.
                Err(error) => failure = Err(error),
            }
        }
        if !found.is_empty() {
            let erased = found.iter().map(Erased::to_string).collect::<Vec<_>>().join(", ");
            tracing::info!(erased, "what came after the deletion of a user was erased");
        }
        failure
    }

    fn next(&self, deps: &Deps, now: Timestamp) -> Option<Timestamp> {
        Self::next(self, now, frames_kept(&deps.topics))
    }

    async fn set_next(&self, database: &Relational, next: Option<Timestamp>) -> Result<(), StoreError> {
        database.set_next_erasure(self.user, next).await
    }
}

/// For how long something can come for the tenant of a deleted user: frames of the log and dead letters, which become frames again, and after
/// them their results.
fn frames_kept(topics: &Topics) -> SignedDuration {
    let frames = retention(topics, TopicRole::Frames).saturating_add(retention(topics, TopicRole::FramesDlq));
    frames.saturating_add(ids_kept(topics))
}

/// The place of a receipt that has the tenant of a deleted user.
pub const DELETED_USERS: &str = "deleted users";

/// Until when the tenant of a user that is deleted `now` is erased again.
pub fn erased_until(topics: &Topics, now: Timestamp) -> Timestamp {
    now.checked_add(frames_kept(topics)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_erased_until_no_frame_and_no_dead_letter_can_come() {
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
        let until = erased_until(&topics, "2026-01-02T00:00:00Z".parse().unwrap());
        // 1 and 14 days of frames and their dead letters, the same of results, and one of reserve.
        assert_eq!(until.to_string(), "2026-02-02T00:00:00Z");
    }
}
