//! Documents in a MongoDB replica set, for deployments of more than one machine.
//!
//! A write succeeds after a majority has journaled it; a write-concern error is a failure. Reads go to the primary with read
//! concern `majority`. A batch of any size waits for the journal twice: for the results, which decide which documents are
//! written, then for all detections and alerts at once.

mod connect;
mod errors;
mod find;
mod migrations;
mod put;
mod rows_with;

use std::time::Duration;

use async_trait::async_trait;
use contracts::{DetectionId, FrameId, TenantId};
use jiff::Timestamp;
use mongodb::bson::{self, doc};
use mongodb::{Client, Collection, Database};

use crate::query::{self, Query};
use crate::stored_docs::{AlertDoc, DetectionDoc};
use crate::{
    AlertFilter, DetectionFilter, FrameFilter, GroupBy, GroupCounts, Indexed, Migrated, PageRequest, PutOutcome,
    ResultStore, StoreError, StoredAlert, StoredDetection, StoredResult, TenantScope,
};
pub(crate) use errors::{CallError, DUPLICATE_KEY, write_error_code};
#[cfg(test)]
pub(crate) use migrations::effects;
pub(crate) use migrations::{BY_REJECTED, BY_SUBJECT, WATCHLISTS_BY_TENANT};

/// Time limit for one call. Without it, a server that hangs with open connections would block the caller forever.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Documents in a MongoDB database.
pub struct MongoDocuments {
    client: Client,
    database: Database,
    /// Hosts and database, without secrets.
    shown: String,
    migrated: Migrated,
}

impl MongoDocuments {
    /// The migration during the connect: the versions before and after.
    pub const fn migrated(&self) -> Migrated {
        self.migrated
    }

    /// Drops the database. Only for temporary databases, such as those of benches.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn drop_database(&self) -> Result<(), StoreError> {
        self.with_timeout(Box::pin(async { Ok(self.database.drop().await?) })).await
    }

    /// A collection by its name.
    pub(crate) fn collection<T: Send + Sync>(&self, name: &str) -> Collection<T> {
        self.database.collection(name)
    }

    /// Runs a call with the time limit. Errors name the server and its setting.
    pub(crate) async fn with_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, StoreError> {
        self.within(CALL_TIMEOUT, call).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(limit, call).await {
            Ok(response) => response.map_err(|failure| failure.into_store_error(&self.shown)),
            Err(_) => Err(StoreError::Unavailable(format!(
                "{} did not respond within {} s (SIGHTLINE_MONGODB_URI)",
                self.shown,
                limit.as_secs()
            ))),
        }
    }
}

#[async_trait]
impl ResultStore for MongoDocuments {
    fn describe(&self) -> String {
        self.shown.clone()
    }

    async fn put(&self, batch: &[Indexed]) -> Result<Vec<PutOutcome>, StoreError> {
        self.with_timeout(Box::pin(self.put_batch(batch))).await
    }

    async fn frame(&self, scope: &TenantScope, id: FrameId) -> Result<Vec<StoredResult>, StoreError> {
        let mut stored = self.with_timeout(Box::pin(self.find_frame(id))).await?;
        stored.retain(|stored| scope.includes(&stored.result.tenant));
        Ok(stored)
    }

    async fn frames(
        &self,
        scope: &TenantScope,
        filter: &FrameFilter,
        page: &PageRequest,
    ) -> Result<Vec<Vec<StoredResult>>, StoreError> {
        let query = Query::frames(scope, filter);
        self.with_timeout(Box::pin(self.find_frames(&query, page))).await
    }

    async fn detection(&self, scope: &TenantScope, id: &DetectionId) -> Result<Option<StoredDetection>, StoreError> {
        let filter = doc! { "_id": id.to_string(), "expires_at": { "$gt": date(Timestamp::now()) } };
        let detections = self.collection::<DetectionDoc<'static>>(query::Collection::Detections.name());
        let found = self.with_timeout(async { Ok(detections.find_one(filter).await?) }).await?;
        let stored = found.map(DetectionDoc::into_stored).transpose()?;
        Ok(stored.filter(|stored| scope.includes(&stored.tenant)))
    }

    async fn detections(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredDetection>, StoreError> {
        let query = Query::detections(scope, filter);
        let docs: Vec<DetectionDoc<'static>> = self.with_timeout(Box::pin(self.find_page(&query, page))).await?;
        docs.into_iter().map(DetectionDoc::into_stored).collect()
    }

    async fn count(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        group_by: GroupBy,
    ) -> Result<GroupCounts, StoreError> {
        let query = Query::detections(scope, filter).grouped(&group_by);
        self.with_timeout(Box::pin(self.count_groups(&query, &group_by))).await
    }

    async fn alerts(
        &self,
        scope: &TenantScope,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredAlert>, StoreError> {
        let query = Query::alerts(scope, filter);
        let call = async { self.without_rejected(self.find_page(&query, page).await?).await };
        let docs: Vec<AlertDoc<'static>> = self.with_timeout(Box::pin(call)).await?;
        docs.into_iter().map(AlertDoc::into_stored).collect()
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let own = doc! { "tenant": tenant.as_str() };
        let mut names = self.with_timeout(Box::pin(async { Ok(self.database.list_collection_names().await?) })).await?;
        names.retain(|name| migrations::holds_documents(name));
        names.sort_by_key(|name| name != "rules");
        let mut deleted = 0;
        for name in names {
            let documents = self.collection::<bson::Document>(&name);
            deleted += self.with_timeout(async { Ok(documents.delete_many(own.clone()).await?.deleted_count) }).await?;
        }
        Ok(deleted)
    }

    /// Does nothing: a TTL index deletes expired documents within about a minute.
    async fn sweep(&self, _now: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let call = async { Ok(self.client.database("admin").run_command(doc! { "hello": 1 }).await?) };
        let response = self.with_timeout(Box::pin(call)).await?;
        if response.get_bool("isWritablePrimary").unwrap_or(false) {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!("{} has no primary to write to at the moment", self.shown)))
    }
}

fn date(at: Timestamp) -> bson::DateTime {
    bson::DateTime::from_millis(at.as_millisecond())
}
