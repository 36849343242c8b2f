//! The trait of the image store.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{BlobKey, BlobKind, SubjectId, TenantId};

use crate::StoreError;

/// Images by key. Share it as `Arc<dyn Blobs>`.
#[async_trait]
pub trait Blobs: Send + Sync {
    /// Kind and location of the store for the log, without secrets.
    fn describe(&self) -> String;

    /// Stores a blob, or replaces the one with this key. A reader sees the old or the new content, never a part.
    ///
    /// After the return, the blob survives the end of this process. A blob of [`BlobKind::Inbox`] or [`BlobKind::Enrolled`] also
    /// survives a power cut, because a client is told after the call that the image is stored.
    async fn put(&self, key: &BlobKey, content: Bytes) -> Result<(), StoreError>;

    /// Reads a blob; `None` if there is none.
    async fn get(&self, key: &BlobKey) -> Result<Option<Bytes>, StoreError>;

    /// Deletes a blob. Succeeds if there is none.
    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError>;

    /// Deletes every blob of a kind whose day ended longer ago than `age`. Returns the number of deleted blobs: none of
    /// [`BlobKind::Enrolled`], which have no day.
    async fn sweep(&self, kind: BlobKind, age: Duration) -> Result<u64, StoreError>;

    /// Deletes the images with which faces were enrolled for a subject. Returns their number. A subject into which others were merged has
    /// further ones under their ids.
    async fn delete_enrolled(&self, tenant: &TenantId, subject: SubjectId) -> Result<u64, StoreError>;

    /// Deletes every blob of a kind that belongs to a tenant. Returns the number of deleted blobs.
    async fn delete_tenant(&self, kind: BlobKind, tenant: &TenantId) -> Result<u64, StoreError>;

    /// Succeeds if a blob can be written.
    async fn check(&self) -> Result<(), StoreError>;
}
