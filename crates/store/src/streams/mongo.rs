//! Streams in MongoDB. The id of a document is `<tenant>/<name>`. Each part of a stream is a field that is set by itself, so writers
//! of different parts do not meet. Writers of the activity, of several processes, notice each other by its revision.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use contracts::{DetectorName, FrameId, StreamName, TenantId};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use mongodb::Collection;
use mongodb::bson::{self, Bson, DateTime, Document, doc};
use mongodb::options::Hint;
use serde::{Deserialize, Serialize};

use super::stored_docs::{ActivityDoc, ReportDoc, settings, unreadable};
use super::{
    PutStreamOutcome, SentFrames, SettingsOfStream, StoredReport, StoredStream, StreamSettings, StreamStore, expiry,
    expiry_of_silent,
};
use crate::frame_pages::result_range;
use crate::mongo::{CallError, DUPLICATE_KEY, MongoDocuments, write_error_code};
use crate::query;
use crate::results::StoreError;

/// Number of ids or frames in one query.
const PER_QUERY: usize = 100;
/// Number of writes at the same time.
const CONCURRENT_WRITES: usize = 16;
/// How often a write begins again because others changed the same stream.
const MAX_TRIES: usize = 20;

/// A stream in MongoDB.
#[derive(Debug, Deserialize)]
struct StreamDoc {
    #[serde(rename = "_id")]
    id: String,
    tenant: String,
    name: String,
    /// Missing for a stream with settings.
    expires_at: Option<DateTime>,
    detectors: Option<Vec<String>>,
    retention_days: Option<i64>,
    report: Option<ReportDoc>,
    activity: Option<ActivityDoc>,
    /// Number of changes of the activity.
    #[serde(default)]
    revision: i64,
}

impl StreamDoc {
    fn into_stored(self) -> Result<StoredStream, StoreError> {
        Ok(StoredStream {
            name: self.name.parse().map_err(|error| unreadable(&error))?,
            settings: settings(self.detectors, self.retention_days)?,
            report: self.report.map(ReportDoc::into_report).transpose()?,
            activity: self.activity.unwrap_or_default().into_activity()?,
        })
    }

    fn into_settings(self) -> Result<SettingsOfStream, StoreError> {
        Ok(SettingsOfStream {
            tenant: self.tenant.parse().map_err(|error| unreadable(&error))?,
            stream: self.name.parse().map_err(|error| unreadable(&error))?,
            settings: settings(self.detectors, self.retention_days)?,
        })
    }
}

#[async_trait]
impl StreamStore for MongoDocuments {
    async fn stream_settings(&self) -> Result<Vec<SettingsOfStream>, StoreError> {
        // Each part is the condition of a partial index.
        let with_settings = ["detectors", "retention_days"].map(|field| doc! { field: { "$exists": true } });
        let find = async {
            let streams = self.stream_docs();
            let found = streams.find(doc! { "$or": with_settings.to_vec() });
            let found = found.projection(doc! { "tenant": 1, "name": 1, "detectors": 1, "retention_days": 1 });
            let found: Vec<StreamDoc> = found.await?.try_collect().await?;
            Ok(found.into_iter().map(StreamDoc::into_settings).collect::<Result<_, _>>()?)
        };
        self.with_timeout(Box::pin(find)).await
    }

    async fn streams(
        &self,
        tenant: &TenantId,
        after: Option<&StreamName>,
        limit: u32,
    ) -> Result<Vec<StoredStream>, StoreError> {
        let mut filter = not_expired(doc! { "tenant": tenant.as_str() });
        if let Some(after) = after {
            filter.insert("name", doc! { "$gt": after.as_str() });
        }
        let find = async {
            let found = self.stream_docs().find(filter).sort(doc! { "name": 1 }).limit(i64::from(limit)).await?;
            let found: Vec<StreamDoc> = found.try_collect().await?;
            Ok(found.into_iter().map(StreamDoc::into_stored).collect::<Result<_, _>>()?)
        };
        self.with_timeout(Box::pin(find)).await
    }

    async fn stream(&self, tenant: &TenantId, name: &StreamName) -> Result<Option<StoredStream>, StoreError> {
        let streams = self.stream_docs();
        let filter = not_expired(doc! { "_id": id(tenant, name) });
        let found = self.with_timeout(async { Ok(streams.find_one(filter).await?) }).await?;
        found.map(StreamDoc::into_stored).transpose()
    }

    async fn put_stream(
        &self,
        tenant: &TenantId,
        name: &StreamName,
        settings: &StreamSettings,
        most: usize,
    ) -> Result<PutStreamOutcome, StoreError> {
        let change = settings_change(settings);
        let key = Key::of(tenant, name);
        self.with_timeout(Box::pin(self.put(&key, most, Timestamp::MAX, |_| change.clone()))).await
    }

    async fn put_report(
        &self,
        tenant: &TenantId,
        name: &StreamName,
        report: &StoredReport,
        most: usize,
    ) -> Result<PutStreamOutcome, StoreError> {
        let (doc, expires_at) = (to_bson(&ReportDoc::of(report))?, date(expiry(report.at)));
        let change = |expires: bool| {
            let mut change = doc! { "$set": { "report": doc.clone() } };
            if expires {
                change.insert("$max", doc! { "expires_at": expires_at });
            }
            change
        };
        let key = Key::of(tenant, name);
        self.with_timeout(Box::pin(self.put(&key, most, expiry_of_silent(), change))).await
    }

    async fn record_frames(&self, sent: &[SentFrames], most: usize) -> Result<(), StoreError> {
        self.with_timeout(Box::pin(self.record(sent, most))).await
    }

    async fn delete_stream(&self, tenant: &TenantId, name: &StreamName) -> Result<bool, StoreError> {
        let streams = self.stream_docs();
        let own = not_expired(doc! { "_id": id(tenant, name) });
        self.with_timeout(async { Ok(streams.delete_one(own).await?.deleted_count == 1) }).await
    }

    async fn frames_with_results(&self, frames: &[FrameId]) -> Result<HashSet<FrameId>, StoreError> {
        self.with_timeout(Box::pin(self.find_frames_with_results(frames))).await
    }
}

/// The key of a stream.
struct Key {
    id: String,
    tenant: String,
    name: String,
}

impl Key {
    fn of(tenant: &TenantId, name: &StreamName) -> Self {
        Self { id: id(tenant, name), tenant: tenant.to_string(), name: name.to_string() }
    }

    /// The new document, which expires at once unless it is changed.
    fn new_doc(&self) -> Document {
        doc! { "_id": &self.id, "tenant": &self.tenant, "name": &self.name, "expires_at": DateTime::now() }
    }
}

impl MongoDocuments {
    fn stream_docs(&self) -> Collection<StreamDoc> {
        self.collection("streams")
    }

    async fn stream_count_of(&self, tenant: &str) -> Result<usize, CallError> {
        let streams = self.stream_docs();
        let count = streams.count_documents(doc! { "tenant": tenant }).hint(Hint::Name("by_tenant".to_owned())).await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Changes a stream, which is created if it does not exist, if necessary in the place of one without settings that expires by this
    /// time. `change` gets whether the stream expires.
    async fn put(
        &self,
        key: &Key,
        most: usize,
        by: Timestamp,
        change: impl Fn(bool) -> Document,
    ) -> Result<PutStreamOutcome, CallError> {
        for _ in 0..MAX_TRIES {
            for expires in [true, false] {
                let own = doc! { "_id": &key.id, "expires_at": { "$exists": expires } };
                if self.stream_docs().update_one(own, change(expires)).await?.matched_count == 1 {
                    return Ok(PutStreamOutcome::Stored);
                }
            }
            if !self.make_room(&key.tenant, most, by).await? {
                return Ok(PutStreamOutcome::Full);
            }
            if self.create(key).await? && self.stream_count_of(&key.tenant).await? > most {
                // Others took the room at the same time.
                self.stream_docs().delete_one(doc! { "_id": &key.id, "expires_at": { "$exists": true } }).await?;
            }
        }
        Err(contended())
    }

    /// Creates a stream. Returns whether it did not exist.
    async fn create(&self, key: &Key) -> Result<bool, CallError> {
        match self.collection::<Document>("streams").insert_one(key.new_doc()).await {
            Ok(_) => Ok(true),
            Err(error) if write_error_code(&error) == Some(DUPLICATE_KEY) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is room for another stream, if necessary in the place of one without settings that expires by this time.
    async fn make_room(&self, tenant: &str, most: usize, by: Timestamp) -> Result<bool, CallError> {
        if self.stream_count_of(tenant).await? < most {
            return Ok(true);
        }
        let expiring = doc! { "tenant": tenant, "expires_at": { "$lte": date(by) } };
        let evicted = self.stream_docs().find_one_and_delete(expiring).sort(doc! { "expires_at": 1 }).await?;
        Ok(evicted.is_some())
    }

    async fn record(&self, sent: &[SentFrames], most: usize) -> Result<(), CallError> {
        let mut left: Vec<&SentFrames> = sent.iter().collect();
        for _ in 0..MAX_TRIES {
            if left.is_empty() {
                return Ok(());
            }
            let known = self.find_streams(&left).await?;
            let known = self.with_new_streams(known, &left, most).await?;
            let mut writes = Vec::with_capacity(left.len());
            for sent in left {
                if let Some(doc) = known.get(&id(&sent.tenant, &sent.stream)) {
                    writes.push(self.record_one(doc, sent).boxed());
                }
            }
            let written: Vec<Option<&SentFrames>> =
                stream::iter(writes).buffer_unordered(CONCURRENT_WRITES).try_collect().await?;
            left = written.into_iter().flatten().collect();
        }
        Err(contended())
    }

    async fn find_streams(&self, sent: &[&SentFrames]) -> Result<HashMap<String, StreamDoc>, CallError> {
        let ids: Vec<String> = sent.iter().map(|sent| id(&sent.tenant, &sent.stream)).collect();
        let mut known = HashMap::with_capacity(ids.len());
        for some in ids.chunks(PER_QUERY) {
            let mut found = self.stream_docs().find(doc! { "_id": { "$in": some } }).await?;
            while let Some(doc) = found.try_next().await? {
                known.insert(doc.id.clone(), doc);
            }
        }
        Ok(known)
    }

    /// Creates streams that are not known, as long as there is room, and adds them.
    async fn with_new_streams(
        &self,
        mut known: HashMap<String, StreamDoc>,
        sent: &[&SentFrames],
        most: usize,
    ) -> Result<HashMap<String, StreamDoc>, CallError> {
        let mut rooms: HashMap<&TenantId, usize> = HashMap::new();
        for sent in sent {
            let key = Key::of(&sent.tenant, &sent.stream);
            if known.contains_key(&key.id) {
                continue;
            }
            if !rooms.contains_key(&sent.tenant) {
                let free = most.saturating_sub(self.stream_count_of(&key.tenant).await?);
                rooms.insert(&sent.tenant, free);
            }
            let Some(room) = rooms.get_mut(&sent.tenant).filter(|room| **room > 0) else { continue };
            *room -= 1;
            self.create(&key).await?;
            let created = StreamDoc {
                id: key.id.clone(),
                tenant: key.tenant,
                name: key.name,
                expires_at: Some(DateTime::now()),
                detectors: None,
                retention_days: None,
                report: None,
                activity: None,
                revision: 0,
            };
            known.insert(key.id, created);
        }
        Ok(known)
    }

    /// Adds frames to a stream as it was read. Returns them if it was changed meanwhile.
    async fn record_one<'a>(&self, doc: &StreamDoc, sent: &'a SentFrames) -> Result<Option<&'a SentFrames>, CallError> {
        let mut activity = doc.activity.clone().unwrap_or_default().into_activity()?;
        activity.add(sent.captured_at, sent.span);
        let expires = doc.expires_at.is_some();
        let revision = if doc.revision == 0 {
            doc! { "$exists": false }
        } else {
            doc! { "$eq": doc.revision }
        };
        let unchanged = doc! { "_id": &doc.id, "revision": revision, "expires_at": { "$exists": expires } };
        let mut change =
            doc! { "$set": { "activity": to_bson(&ActivityDoc::of(&activity))?, "revision": doc.revision + 1 } };
        if expires {
            change.insert("$max", doc! { "expires_at": date(expiry(sent.span.to)) });
        }
        let written = self.stream_docs().update_one(unchanged, change).await?;
        Ok((written.matched_count == 0).then_some(sent))
    }

    async fn find_frames_with_results(&self, frames: &[FrameId]) -> Result<HashSet<FrameId>, CallError> {
        #[derive(Debug, Deserialize)]
        struct ResultId {
            #[serde(rename = "_id")]
            id: String,
        }
        let mut with_results = HashSet::new();
        for some in frames.chunks(PER_QUERY) {
            let ranges = some.iter().map(result_range);
            let ranges: Vec<Document> = ranges.map(|[from, to]| doc! { "_id": { "$gt": from, "$lt": to } }).collect();
            let results = self.collection::<ResultId>(query::Collection::Results.name());
            let mut found = results.find(doc! { "$or": ranges }).projection(doc! { "_id": 1 }).await?;
            while let Some(ResultId { id }) = found.try_next().await? {
                with_results.extend(id.get(..36).and_then(|frame| frame.parse::<FrameId>().ok()));
            }
        }
        Ok(with_results)
    }
}

/// Sets what is there and unsets the rest.
fn settings_change(StreamSettings { detectors, retention }: &StreamSettings) -> Document {
    let (mut set, mut unset) = (Document::new(), doc! { "expires_at": "" });
    match detectors {
        Some(names) => set.insert("detectors", names.iter().map(DetectorName::as_str).collect::<Vec<_>>()),
        None => unset.insert("detectors", ""),
    };
    match retention {
        Some(days) => set.insert("retention_days", i64::from(u16::from(*days))),
        None => unset.insert("retention_days", ""),
    };
    let mut change = doc! { "$unset": unset };
    if !set.is_empty() {
        change.insert("$set", set);
    }
    change
}

/// `/` is in no tenant and no name.
fn id(tenant: &TenantId, name: &StreamName) -> String {
    format!("{tenant}/{name}")
}

/// Excludes streams that expired and are not deleted yet.
fn not_expired(mut filter: Document) -> Document {
    let later = doc! { "expires_at": { "$gt": DateTime::now() } };
    filter.insert("$or", vec![doc! { "expires_at": { "$exists": false } }, later]);
    filter
}

fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

fn to_bson(doc: &impl Serialize) -> Result<Bson, StoreError> {
    bson::serialize_to_bson(doc).map_err(|error| StoreError::Fatal(format!("a stream cannot be written: {error}")))
}

fn contended() -> CallError {
    StoreError::Unavailable("other requests change the same stream at the same time; retry".to_owned()).into()
}
