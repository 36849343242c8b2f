//! Watchlists in MongoDB. The id of a document is `<tenant>/<name>`, so two requests cannot create the same list. Every change is one update.

use std::collections::BTreeSet;

use async_trait::async_trait;
use contracts::{SubjectId, TenantId, WatchlistName};
use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use mongodb::options::Hint;
use serde::{Deserialize, Serialize};

use super::{
    PutWatchlistOutcome, Watchlist, WatchlistMemberOutcome, WatchlistRevision, WatchlistStore, new_revision, unreadable,
};
use crate::mongo::{CallError, DUPLICATE_KEY, MongoDocuments, WATCHLISTS_BY_TENANT, write_error_code};
use crate::results::StoreError;

const COLLECTION: &str = "watchlists";

/// A list in MongoDB.
#[derive(Debug, Serialize, Deserialize)]
struct WatchlistDoc {
    #[serde(rename = "_id")]
    id: String,
    tenant: String,
    name: String,
    revision: String,
    subjects: Vec<String>,
}

/// The revision of a list.
#[derive(Debug, Deserialize)]
struct RevisionDoc {
    tenant: String,
    name: String,
    revision: String,
}

impl WatchlistDoc {
    fn into_watchlist(self) -> Result<Watchlist, StoreError> {
        let name = self.name.parse::<WatchlistName>().map_err(|error| unreadable(&error))?;
        let subject = |id: &String| id.parse::<SubjectId>().map_err(|error| unreadable(&error));
        let subjects = self.subjects.iter().map(subject).collect::<Result<BTreeSet<_>, _>>()?;
        Ok(Watchlist { name, subjects, revision: self.revision })
    }
}

impl RevisionDoc {
    fn into_revision(self) -> Result<WatchlistRevision, StoreError> {
        let tenant = self.tenant.parse::<TenantId>().map_err(|error| unreadable(&error))?;
        let name = self.name.parse::<WatchlistName>().map_err(|error| unreadable(&error))?;
        Ok(WatchlistRevision { tenant, name, revision: self.revision })
    }
}

#[async_trait]
impl WatchlistStore for MongoDocuments {
    async fn watchlist_revisions(&self) -> Result<Vec<WatchlistRevision>, StoreError> {
        let find = async {
            let lists = self.collection::<RevisionDoc>(COLLECTION);
            let found = lists.find(doc! {}).projection(doc! { "_id": 0, "tenant": 1, "name": 1, "revision": 1 });
            // With the hint, the index has all that is read, and no list is.
            let found = found.hint(Hint::Name(WATCHLISTS_BY_TENANT.to_owned())).await?;
            let found: Vec<RevisionDoc> = found.try_collect().await?;
            Ok(found.into_iter().map(RevisionDoc::into_revision).collect::<Result<_, _>>()?)
        };
        self.with_timeout(Box::pin(find)).await
    }

    async fn watchlists(&self, tenant: &TenantId) -> Result<Vec<Watchlist>, StoreError> {
        let find = async {
            let found = self.watchlist_docs().find(of_tenant(tenant)).sort(doc! { "name": 1 }).await?;
            let found: Vec<WatchlistDoc> = found.try_collect().await?;
            Ok(found.into_iter().map(WatchlistDoc::into_watchlist).collect::<Result<_, _>>()?)
        };
        self.with_timeout(Box::pin(find)).await
    }

    async fn watchlist(&self, tenant: &TenantId, name: &WatchlistName) -> Result<Option<Watchlist>, StoreError> {
        let (lists, filter) = (self.watchlist_docs(), doc! { "_id": id(tenant, name) });
        let found = self.with_timeout(async { Ok(lists.find_one(filter).await?) }).await?;
        found.map(WatchlistDoc::into_watchlist).transpose()
    }

    async fn put_watchlist(
        &self,
        tenant: &TenantId,
        name: &WatchlistName,
        subjects: &BTreeSet<SubjectId>,
        most: usize,
    ) -> Result<PutWatchlistOutcome, StoreError> {
        let list = WatchlistDoc {
            id: id(tenant, name),
            tenant: tenant.to_string(),
            name: name.to_string(),
            revision: new_revision(),
            subjects: subjects.iter().map(ToString::to_string).collect(),
        };
        self.with_timeout(Box::pin(self.put_list(tenant, &list, most))).await
    }

    async fn add_to_watchlist(
        &self,
        tenant: &TenantId,
        name: &WatchlistName,
        subject: SubjectId,
        most: usize,
    ) -> Result<WatchlistMemberOutcome, StoreError> {
        let (id, subject) = (id(tenant, name), subject.to_string());
        // The place of the last subject of a full list.
        let last = format!("subjects.{}", most.saturating_sub(1));
        let has_room = doc! { last: { "$exists": false } };
        let filter = doc! { "_id": &id, "$or": [{ "subjects": &subject }, has_room] };
        let change = doc! { "$addToSet": { "subjects": &subject }, "$set": { "revision": new_revision() } };
        let refused = WatchlistMemberOutcome::Full;
        self.with_timeout(Box::pin(self.change_members(&id, filter, change, refused))).await
    }

    async fn remove_from_watchlist(
        &self,
        tenant: &TenantId,
        name: &WatchlistName,
        subject: SubjectId,
    ) -> Result<WatchlistMemberOutcome, StoreError> {
        let (id, subject) = (id(tenant, name), subject.to_string());
        let filter = doc! { "_id": &id, "subjects": &subject };
        let change = doc! { "$pull": { "subjects": &subject }, "$set": { "revision": new_revision() } };
        let refused = WatchlistMemberOutcome::NotOnList;
        self.with_timeout(Box::pin(self.change_members(&id, filter, change, refused))).await
    }

    async fn delete_watchlist(&self, tenant: &TenantId, name: &WatchlistName) -> Result<bool, StoreError> {
        let (lists, filter) = (self.watchlist_docs(), doc! { "_id": id(tenant, name) });
        self.with_timeout(async { Ok(lists.delete_one(filter).await?.deleted_count == 1) }).await
    }

    async fn leave_watchlists(
        &self,
        tenant: &TenantId,
        subject: SubjectId,
        replaced_by: Option<SubjectId>,
    ) -> Result<u64, StoreError> {
        let lists = self.watchlist_docs();
        let mut with_subject = of_tenant(tenant);
        with_subject.insert("subjects", subject.to_string());
        let instead: Vec<String> = replaced_by.iter().map(ToString::to_string).collect();
        // A pipeline, so that one takes the place of the other in one step, and is on no list twice.
        let others = doc! { "$setDifference": ["$subjects", [subject.to_string()]] };
        let change = vec![doc! { "$set": {
            "subjects": { "$setUnion": [others, instead] },
            "revision": new_revision(),
        } }];
        let call = async { Ok(lists.update_many(with_subject, change).await?.modified_count) };
        self.with_timeout(Box::pin(call)).await
    }
}

impl MongoDocuments {
    fn watchlist_docs(&self) -> Collection<WatchlistDoc> {
        self.collection(COLLECTION)
    }

    async fn count_lists(&self, tenant: &TenantId) -> Result<usize, CallError> {
        let count = self.watchlist_docs().count_documents(of_tenant(tenant)).await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    async fn put_list(
        &self,
        tenant: &TenantId,
        list: &WatchlistDoc,
        most: usize,
    ) -> Result<PutWatchlistOutcome, CallError> {
        let (lists, by_id) = (self.watchlist_docs(), doc! { "_id": &list.id });
        let exists = lists.find_one(by_id.clone()).await?.is_some();
        if !exists && self.count_lists(tenant).await? >= most {
            return Ok(PutWatchlistOutcome::Full);
        }
        let mut stored = lists.replace_one(by_id.clone(), list).upsert(true).await;
        if matches!(&stored, Err(error) if write_error_code(error) == Some(DUPLICATE_KEY)) {
            // Another request has created it meanwhile.
            stored = lists.replace_one(by_id.clone(), list).upsert(true).await;
        }
        let stored = stored?;
        // Others may have seen room for their lists at the same time. The last of them that counts finds all of them.
        if stored.upserted_id.is_some() && self.count_lists(tenant).await? > most {
            lists.delete_one(by_id).await?;
            return Ok(PutWatchlistOutcome::Full);
        }
        Ok(PutWatchlistOutcome::Stored)
    }

    /// Changes a list that matches. `refused` is the outcome for one that exists and does not.
    async fn change_members(
        &self,
        id: &str,
        filter: Document,
        change: Document,
        refused: WatchlistMemberOutcome,
    ) -> Result<WatchlistMemberOutcome, CallError> {
        let lists = self.watchlist_docs();
        if lists.update_one(filter, change).await?.matched_count == 1 {
            return Ok(WatchlistMemberOutcome::Stored);
        }
        let exists = lists.find_one(doc! { "_id": id }).await?.is_some();
        Ok(if exists { refused } else { WatchlistMemberOutcome::NoList })
    }
}

fn id(tenant: &TenantId, name: &WatchlistName) -> String {
    format!("{tenant}/{name}")
}

fn of_tenant(tenant: &TenantId) -> Document {
    doc! { "tenant": tenant.as_str() }
}
