//! Erasing a tenant's data. Each store provides an eraser; `accounts` runs all of them when a user is deleted, and the service `faces` again
//! for what came after that.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use contracts::{BlobKind, TenantId};

use crate::{Blobs, Documents, Relational, StoreError};

/// Receipt of one eraser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The kind of data, as the audit log names it.
    pub what: &'static str,
    /// Number of documents or blobs.
    pub count: u64,
}

impl fmt::Display for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.what)
    }
}

/// Deletes all data of a tenant in one store.
#[async_trait]
pub trait TenantEraser: Send + Sync {
    /// Deletes the tenant's data. A repeat after a failure deletes the rest.
    async fn erase(&self, tenant: &TenantId) -> Result<Erased, StoreError>;
}

/// The erasers of all stores. The accounts' own rows of a user are deleted after them.
pub fn tenant_erasers(
    documents: &Arc<dyn Documents>,
    blobs: &Arc<dyn Blobs>,
    accounts: &Relational,
) -> Vec<Arc<dyn TenantEraser>> {
    let documents: Arc<dyn TenantEraser> = Arc::new(DocumentsEraser(Arc::clone(documents)));
    let blobs = BlobKind::ALL
        .into_iter()
        .map(|kind| -> Arc<dyn TenantEraser> { Arc::new(BlobsEraser { kind, blobs: Arc::clone(blobs) }) });
    [documents, face_eraser(accounts)].into_iter().chain(blobs).collect()
}

/// The eraser of enrolled faces: subjects and vectors.
pub fn face_eraser(accounts: &Relational) -> Arc<dyn TenantEraser> {
    Arc::new(FacesEraser(accounts.clone()))
}

/// Erases results, detections, alerts, rules, streams and watchlists.
struct DocumentsEraser(Arc<dyn Documents>);

#[async_trait]
impl TenantEraser for DocumentsEraser {
    async fn erase(&self, tenant: &TenantId) -> Result<Erased, StoreError> {
        let count = self.0.delete_tenant(tenant).await?;
        self.0.empty_journal().await;
        Ok(Erased { what: "documents", count })
    }
}

/// Erases subjects with their names, and the vectors of their faces.
struct FacesEraser(Relational);

#[async_trait]
impl TenantEraser for FacesEraser {
    async fn erase(&self, tenant: &TenantId) -> Result<Erased, StoreError> {
        let erased = self.0.erase_faces(tenant).await?;
        Ok(Erased { what: "subjects and face vectors", count: erased.subjects + erased.vectors })
    }
}

/// Erases the blobs of one kind.
struct BlobsEraser {
    kind: BlobKind,
    blobs: Arc<dyn Blobs>,
}

#[async_trait]
impl TenantEraser for BlobsEraser {
    async fn erase(&self, tenant: &TenantId) -> Result<Erased, StoreError> {
        let what = match self.kind {
            BlobKind::Frames => "kept images",
            BlobKind::FramesUntil => "kept images of streams with a retention",
            BlobKind::Inbox => "images in the inbox",
            BlobKind::Enrolled => "enrolment images",
        };
        Ok(Erased { what, count: self.blobs.delete_tenant(self.kind, tenant).await? })
    }
}
