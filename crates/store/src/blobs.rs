//! The seam of the blobs: images by key.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{BlobKind, TenantId};

use crate::StoreError;

/// Images by key. Cheap to share as `Arc<dyn Blobs>`.
///
/// A key is the text of a [`contracts::BlobKey`]: a kind, the UTC day of writing, the tenant, the frame. Retention deletes whole
/// days. A key from the log or from a document is checked as a `BlobKey` before it comes here.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// What it is, for a start-up line, without secrets.
    fn describe(&self) -> String;

    /// Stores a blob before it returns, so that it outlives this process; the same key again replaces it whole, never in part.
    /// A blob of [`BlobKind::Inbox`] outlives a power cut as well: its sender was told that the frame is accepted.
    async fn put(&self, key: &str, content: Bytes) -> Result<(), StoreError>;

    /// A blob, or nothing when it is gone.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Deletes a blob; one that is gone is success.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Deletes every blob of a kind whose day ended longer ago than `age`; returns how many.
    async fn sweep(&self, kind: BlobKind, age: Duration) -> Result<u64, StoreError>;

    /// Deletes every blob of a kind of a tenant; returns how many.
    async fn delete_tenant(&self, kind: BlobKind, tenant: &TenantId) -> Result<u64, StoreError>;

    /// Succeeds when blobs can be written.
    async fn check(&self) -> Result<(), StoreError>;
}
