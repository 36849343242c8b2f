//! A store of results that fails on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use contracts::{DetectionId, FrameId, TenantId};
use jiff::Timestamp;
use store::{
    AlertFilter, DetectionFilter, Documents, FrameFilter, GroupBy, GroupCounts, Indexed, PageRequest, PutOutcome,
    ResultStore, StoreError, StoredAlert, StoredDetection, StoredResult, TenantScope,
};

/// Delegates to another store. Its fields decide which calls fail.
pub struct FlakyStore {
    pub inner: Arc<dyn ResultStore>,
    /// The store is unavailable.
    pub is_unavailable: AtomicBool,
    /// The store refuses everything, because it has another program's data.
    pub refuses_all: AtomicBool,
    /// The store refuses this frame's documents.
    pub refused_frame: Option<FrameId>,
    /// Number of calls of `put`.
    pub puts: AtomicUsize,
}

impl FlakyStore {
    pub fn over(inner: &Arc<dyn Documents>) -> Self {
        Self {
            inner: inner.clone(),
            is_unavailable: AtomicBool::new(false),
            refuses_all: AtomicBool::new(false),
            refused_frame: None,
            puts: AtomicUsize::new(0),
        }
    }

    fn condition(&self) -> Result<(), StoreError> {
        if self.refuses_all.load(Ordering::SeqCst) {
            return Err(StoreError::Fatal("another program's data".to_owned()));
        }
        if self.is_unavailable.load(Ordering::SeqCst) {
            Err(StoreError::Unavailable("unavailable".to_owned()))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl ResultStore for FlakyStore {
    fn describe(&self) -> String {
        "flaky".to_owned()
    }

    async fn put(&self, batch: &[Indexed]) -> Result<Vec<PutOutcome>, StoreError> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.condition()?;
        if batch.iter().any(|indexed| Some(indexed.result.data.frame_id) == self.refused_frame) {
            return Err(StoreError::Fatal("a document is too large".to_owned()));
        }
        self.inner.put(batch).await
    }

    async fn frame(&self, scope: &TenantScope, id: FrameId) -> Result<Vec<StoredResult>, StoreError> {
        self.inner.frame(scope, id).await
    }

    async fn frames(
        &self,
        scope: &TenantScope,
        filter: &FrameFilter,
        page: &PageRequest,
    ) -> Result<Vec<Vec<StoredResult>>, StoreError> {
        self.inner.frames(scope, filter, page).await
    }

    async fn detection(&self, scope: &TenantScope, id: &DetectionId) -> Result<Option<StoredDetection>, StoreError> {
        self.inner.detection(scope, id).await
    }

    async fn detections(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredDetection>, StoreError> {
        self.inner.detections(scope, filter, page).await
    }

    async fn count(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        group_by: GroupBy,
    ) -> Result<GroupCounts, StoreError> {
        self.inner.count(scope, filter, group_by).await
    }

    async fn alerts(
        &self,
        scope: &TenantScope,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredAlert>, StoreError> {
        self.inner.alerts(scope, filter, page).await
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        self.inner.delete_tenant(tenant).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.inner.sweep(now).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.condition()
    }
}
