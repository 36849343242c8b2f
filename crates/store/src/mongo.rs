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

use std::time::Duration;

use async_trait::async_trait;
use contracts::{DetectionId, FrameId, Rule, RuleId, TenantId};
use jiff::Timestamp;
use mongodb::bson::{self, doc};
use mongodb::{Client, Collection, Database};
use serde::{Deserialize, Serialize};

use crate::query::{self, Query};
use crate::stored_docs::{AlertDoc, DetectionDoc};
use crate::{
    AlertFilter, DetectionFilter, Documents, FrameFilter, GroupBy, GroupCounts, Indexed, Migrated, PageRequest,
    PutOutcome, PutRuleOutcome, StoreError, StoredAlert, StoredDetection, StoredResult, TenantScope, documents,
};
use errors::CallError;

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

/// A stored rule.
#[derive(Debug, Serialize, Deserialize)]
struct RuleDoc {
    #[serde(rename = "_id")]
    id: String,
    tenant: String,
    name: String,
    condition: String,
    enabled: bool,
}

impl RuleDoc {
    fn of(rule: &Rule) -> Result<Self, StoreError> {
        let Rule { id, name, condition, enabled, .. } = rule;
        let tenant = documents::owner(rule)?.to_string();
        Ok(Self { id: id.to_string(), tenant, name: name.clone(), condition: condition.clone(), enabled: *enabled })
    }

    fn into_rule(self) -> Result<Rule, StoreError> {
        let unreadable = |error: &dyn std::fmt::Display| {
            StoreError::Fatal(format!("the stored rule {} cannot be read: {error}", self.id))
        };
        Ok(Rule {
            id: self.id.parse().map_err(|error| unreadable(&error))?,
            tenant: Some(self.tenant.parse().map_err(|error| unreadable(&error))?),
            name: self.name,
            condition: self.condition,
            enabled: self.enabled,
        })
    }
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

    fn collection<T: Send + Sync>(&self, collection: query::Collection) -> Collection<T> {
        self.database.collection(collection.name())
    }

    fn rule_docs(&self) -> Collection<RuleDoc> {
        self.database.collection("rules")
    }

    /// Runs a call with the time limit. Errors name the server and its setting.
    async fn with_timeout<T>(&self, call: impl Future<Output = Result<T, CallError>>) -> Result<T, StoreError> {
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
impl Documents for MongoDocuments {
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
        let detections = self.collection::<DetectionDoc<'static>>(query::Collection::Detections);
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
        let docs: Vec<AlertDoc<'static>> = self.with_timeout(Box::pin(self.find_page(&query, page))).await?;
        docs.into_iter().map(AlertDoc::into_stored).collect()
    }

    async fn all_rules(&self) -> Result<Vec<Rule>, StoreError> {
        self.with_timeout(Box::pin(self.find_rules(doc! {}))).await
    }

    async fn rules(&self, tenant: &TenantId) -> Result<Vec<Rule>, StoreError> {
        self.with_timeout(Box::pin(self.find_rules(doc! { "tenant": tenant.as_str() }))).await
    }

    async fn put_rule(&self, rule: &Rule) -> Result<PutRuleOutcome, StoreError> {
        let rule = RuleDoc::of(rule)?;
        self.with_timeout(Box::pin(self.replace_rule(&rule))).await
    }

    async fn delete_rule(&self, tenant: &TenantId, id: RuleId) -> Result<bool, StoreError> {
        let rules = self.rule_docs();
        let own = doc! { "_id": id.to_string(), "tenant": tenant.as_str() };
        self.with_timeout(async { Ok(rules.delete_one(own).await?.deleted_count == 1) }).await
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let own = doc! { "tenant": tenant.as_str() };
        let rules = self.rule_docs();
        let mut deleted = self.with_timeout(async { Ok(rules.delete_many(own.clone()).await?.deleted_count) }).await?;
        for collection in query::Collection::ALL {
            let documents = self.collection::<bson::Document>(collection);
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
