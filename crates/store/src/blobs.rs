//! The seam of the blobs: images by key.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::TenantId;

use crate::StoreError;

/// The kind of frames on their way. Their senders were told that they are taken; a kept image is a copy of what was seen.
pub const INBOX: &str = "inbox";

/// Images by key. A key is `/`-separated and made by us, never by a client. Cheap to share as `Arc<dyn Blobs>`.
///
/// Keys begin with a kind and the UTC day of writing, as in `frames/2026-01-02/<tenant>/<frame id>` for kept images and
/// `inbox/2026-01-02/<frame id>` for large frames on their way, so that what is too old goes by whole days.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// What it is, for a start-up line, without secrets.
    fn describe(&self) -> String;

    /// Stores a blob before it returns, so that it outlives this process; the same key again replaces it whole, never in part.
    /// One of the kind [`INBOX`] outlives a power cut as well.
    async fn put(&self, key: &str, content: Bytes) -> Result<(), StoreError>;

    /// A blob, or nothing when it is gone.
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// Deletes a blob; one that is gone is success.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Deletes every blob of a kind whose day ended longer ago than `age`; returns how many.
    async fn sweep(&self, kind: &str, age: Duration) -> Result<u64, StoreError>;

    /// Deletes every blob of a kind that is kept for a tenant; returns how many. For kinds whose keys name the tenant after the
    /// day.
    async fn delete_tenant(&self, kind: &str, tenant: &TenantId) -> Result<u64, StoreError>;

    /// Succeeds when blobs can be written.
    async fn check(&self) -> Result<(), StoreError>;
}
