//! Translates a [`Query`] to filters and pipelines of MongoDB. A hint names the index, so the planner uses no other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use contracts::api::Count;
use contracts::{AttributeValue, FrameId, Vehicle};
use futures::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::Hint;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::errors::CallError;
use super::{MongoDocuments, date};
use crate::frame_pages::{FramePageBuilder, detection_range, result_range, sorted_by_index};
use crate::query::{Collection, Field, GroupKey, Query};
use crate::results::{MAX_GROUPS, first_groups};
use crate::stored_docs::{DetectionDoc, ResultDoc, detections_of, hour_key};
use crate::{GroupBy, GroupCounts, PageRequest, StoreError, StoredDetection, StoredResult};

/// Maximum number of documents in one server response.
const CURSOR_BATCH: u32 = 2_000;
/// Number of results whose detections one query reads.
const RANGES_PER_QUERY: usize = 100;
const HOUR_MICROS: i64 = 3_600_000_000;

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(rename = "_id")]
    key: Bson,
    n: i64,
}

impl MongoDocuments {
    pub(super) async fn find_page<D>(&self, query: &Query, page: &PageRequest) -> Result<Vec<D>, CallError>
    where
        D: DeserializeOwned + Send + Sync,
    {
        let (limit, skip) = match page {
            PageRequest::Newest { limit, .. } => (*limit, 0),
            PageRequest::Oldest { skip, limit } => (*limit, *skip),
        };
        if limit == 0 {
            // To MongoDB, 0 means no limit.
            return Ok(Vec::new());
        }
        let found = self
            .collection::<D>(query.collection.name())
            .find(filter(query, page, Timestamp::now()))
            .sort(order(page))
            .hint(Hint::Name(query.index().name().to_owned()))
            .limit(i64::from(limit))
            // The server adds skip and limit; the sum must not overflow.
            .skip(skip.min(i64::MAX as u64 / 2))
            .batch_size(limit.min(CURSOR_BATCH))
            .await?;
        Ok(found.try_collect().await?)
    }

    /// A result is written before its detections. Until all of them are stored, this query hides
    /// the result, so that no client gets a partial result. Lists include it.
    pub(super) async fn find_frame(&self, id: FrameId) -> Result<Vec<StoredResult>, CallError> {
        let [from, to] = result_range(&id);
        let filter = doc! {
            "_id": { "$gt": from, "$lt": to },
            "expires_at": { "$gt": date(Timestamp::now()) },
        };
        let found = self
            .collection::<ResultDoc<'static>>(Collection::Results.name())
            .find(filter)
            .sort(doc! { "_id": 1 })
            .await?;
        let found: Vec<ResultDoc<'static>> = found.try_collect().await?;
        let counts: Vec<u32> = found.iter().map(|doc| doc.count).collect();
        let stored = self.with_detections(found).await?.into_iter().zip(counts);
        Ok(stored
            .filter(|(stored, count)| detections_of(&stored.result).len() >= *count as usize)
            .map(|(stored, _)| stored)
            .collect())
    }

    pub(super) async fn find_frames(
        &self,
        query: &Query,
        page: &PageRequest,
    ) -> Result<Vec<Vec<StoredResult>>, CallError> {
        let limit = match page {
            PageRequest::Newest { limit, .. } | PageRequest::Oldest { limit, .. } => *limit,
        };
        let mut found = self
            .collection::<ResultDoc<'static>>(query.collection.name())
            .find(filter(query, page, Timestamp::now()))
            .sort(order(page))
            .hint(Hint::Name(query.index().name().to_owned()))
            // A frame has one result for each detector. Results beyond the page are discarded.
            .batch_size(limit.saturating_mul(2).clamp(16, CURSOR_BATCH))
            .await?;
        let mut builder = FramePageBuilder::new(page);
        while let Some(doc) = found.try_next().await? {
            if builder.add(doc).is_break() {
                break;
            }
        }
        let frames: Vec<Vec<ResultDoc<'static>>> = builder.into_frames().collect();
        let sizes: Vec<usize> = frames.iter().map(Vec::len).collect();
        let mut stored = self.with_detections(frames.into_iter().flatten().collect()).await?.into_iter();
        Ok(sizes.into_iter().map(|size| stored.by_ref().take(size).collect()).collect())
    }

    /// Joins results with their detections.
    async fn with_detections(&self, results: Vec<ResultDoc<'static>>) -> Result<Vec<StoredResult>, CallError> {
        let ids: Vec<&str> = results.iter().filter(|doc| doc.count > 0).map(|doc| doc.id.as_str()).collect();
        let now = Timestamp::now();
        let mut detections: HashMap<String, Vec<StoredDetection>> = HashMap::with_capacity(ids.len());
        for some in ids.chunks(RANGES_PER_QUERY) {
            let ranges = some.iter().map(|id| detection_range(id));
            let ranges: Vec<Document> = ranges.map(|[from, to]| doc! { "_id": { "$gt": from, "$lt": to } }).collect();
            let mut found = self
                .collection::<DetectionDoc<'static>>(Collection::Detections.name())
                .find(doc! { "$or": ranges })
                .batch_size(CURSOR_BATCH)
                .await?;
            while let Some(doc) = found.try_next().await? {
                // Those of strangers may expire before the result.
                if doc.expires_at <= now {
                    continue;
                }
                let stored = doc.into_stored()?;
                let result = crate::stored_docs::result_id(&stored.id.frame, &stored.id.detector);
                detections.entry(result).or_default().push(stored);
            }
        }
        let add_detections = |doc: ResultDoc<'static>| {
            let own = detections.remove(&doc.id).unwrap_or_default();
            doc.into_stored(sorted_by_index(own))
        };
        Ok(results.into_iter().map(add_detections).collect::<Result<_, StoreError>>()?)
    }

    pub(super) async fn count_groups(&self, query: &Query, group_by: &GroupBy) -> Result<GroupCounts, CallError> {
        let found = self
            .collection::<Document>(query.collection.name())
            .aggregate(groups(query, group_by, Timestamp::now()))
            .hint(Hint::Name(query.index().name().to_owned()))
            .with_type::<Group>()
            .await?;
        let groups: Vec<Group> = found.try_collect().await?;
        let mut counted = first_groups(groups.into_iter().map(counted).collect::<Result<Vec<_>, _>>()?);
        match group_by {
            GroupBy::Hour => counted.items.reverse(),
            GroupBy::Attribute(_) => counted.items = merged(counted.items),
            _ => {}
        }
        Ok(counted)
    }
}

fn counted(group: Group) -> Result<Count, StoreError> {
    let key = match group.key {
        Bson::String(text) => text,
        Bson::Int64(hour) => hour_key(hour)?,
        Bson::Int32(hour) => hour_key(hour.into())?,
        Bson::Double(number) => number_key(number)?,
        other => {
            return Err(StoreError::Fatal(format!("a group of detections has the key {other}, which is not a text")));
        }
    };
    Ok(Count { key, count: group.n.unsigned_abs() })
}

/// A number as JSON writes it, with all its digits. SQLite stores that text.
fn number_key(number: f64) -> Result<String, StoreError> {
    serde_json::to_string(&AttributeValue::Number(number))
        .map_err(|error| StoreError::Fatal(format!("a group of detections has the key {number}: {error}")))
}

/// Merges groups with the same key: an attribute may be the number 1.5 in one detection and the text "1.5" in another.
fn merged(counted: Vec<Count>) -> Vec<Count> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for Count { key, count } in counted {
        *counts.entry(key).or_default() += count;
    }
    let mut merged: Vec<Count> = counts.into_iter().map(|(key, count)| Count { key, count }).collect();
    merged.sort_by_key(|group| Reverse(group.count));
    merged
}

fn order(page: &PageRequest) -> Document {
    match page {
        PageRequest::Newest { .. } => doc! { "at": -1, "_id": -1 },
        PageRequest::Oldest { .. } => doc! { "at": 1, "_id": 1 },
    }
}

fn filter(query: &Query, page: &PageRequest, now: Timestamp) -> Document {
    let mut filter = doc! { "expires_at": { "$gt": date(now) } };
    if let Some(tenants) = &query.tenants {
        filter.insert("tenant", doc! { "$in": tenants });
    }
    if let Some(stream) = &query.stream {
        filter.insert("stream", doc! { "$eq": stream });
    }
    let mut at = Document::new();
    if let Some(from) = query.from {
        at.insert("$gte", from);
    }
    if let Some(to) = query.to {
        at.insert("$lt", to);
    }
    if let PageRequest::Newest { after: Some(after), .. } = page {
        // `$lte` bounds the index scan. Ids decide among documents with the time of the last item.
        let last = after.at.as_microsecond();
        at.insert("$lte", last);
        filter.insert("$or", vec![doc! { "at": { "$lt": last } }, doc! { "_id": { "$lt": &after.id } }]);
    }
    if !at.is_empty() {
        filter.insert("at", at);
    }
    if query.needs_attributes {
        filter.insert("attributes", doc! { "$exists": true });
    }
    let mut all = Vec::new();
    for (field, values) in &query.equals {
        let values: Vec<Bson> = values.iter().map(bson).collect();
        all.push(doc! { field_path(field): { "$in": values } });
    }
    if let Some(least) = query.min_confidence {
        filter.insert("confidence", doc! { "$gte": least });
    }
    if query.vehicles_only {
        let some = Vehicle::NAMES.map(|field| doc! { field: { "$exists": true } });
        all.push(doc! { "$or": some.to_vec() });
    }
    if !all.is_empty() {
        filter.insert("$and", all);
    }
    filter
}

/// The path of a field in a document.
fn field_path(field: &Field) -> String {
    match field {
        Field::Column(column) => (*column).to_owned(),
        Field::Year => "year".to_owned(),
        Field::Attribute(name) => format!("attributes.{name}"),
    }
}

fn bson(value: &AttributeValue) -> Bson {
    match value {
        AttributeValue::Text(text) => Bson::String(text.clone()),
        AttributeValue::Number(number) => Bson::Double(*number),
        AttributeValue::Bool(value) => Bson::Boolean(*value),
    }
}

fn groups(query: &Query, group_by: &GroupBy, now: Timestamp) -> [Document; 5] {
    let whole_list = PageRequest::Oldest { skip: 0, limit: u32::MAX };
    let (field, key, order) = match GroupKey::of(group_by) {
        GroupKey::Hour => ("at".to_owned(), hour_of("$at"), doc! { "_id": -1 }),
        GroupKey::Field(field) => {
            let path = field_path(&field);
            let value = format!("${path}");
            let key = match field {
                Field::Column(_) => Bson::String(value),
                Field::Year => Bson::Document(doc! { "$toString": value }),
                // `$toString` would shorten a fraction, so `counted` converts it.
                Field::Attribute(_) => Bson::Document(doc! {
                    "$cond": [{ "$eq": [{ "$type": &value }, "double"] }, &value, { "$toString": &value }]
                }),
            };
            (path, key, doc! { "n": -1, "_id": 1 })
        }
    };
    [
        doc! { "$match": filter(query, &whole_list, now) },
        doc! { "$match": { field: { "$exists": true } } },
        doc! { "$group": { "_id": key, "n": { "$sum": 1 } } },
        doc! { "$sort": order },
        doc! { "$limit": MAX_GROUPS + 1 },
    ]
}

/// The start of the hour. Integer arithmetic that is also right before 1970, where `$mod` is negative.
fn hour_of(at: &str) -> Bson {
    let remainder = doc! { "$mod": [{ "$add": [{ "$mod": [at, HOUR_MICROS] }, HOUR_MICROS] }, HOUR_MICROS] };
    Bson::Document(doc! { "$subtract": [at, remainder] })
}

#[cfg(test)]
mod tests {
    use contracts::TenantId;
    use mongodb::Client;

    use super::*;
    use crate::{AlertFilter, DetectionFilter, FrameFilter, ResultStore, TenantScope};

    /// All stages of a query plan.
    fn stages(plan: &Document, found: &mut Vec<String>) {
        for (key, value) in plan {
            match value {
                Bson::String(stage) if key == "stage" => found.push(stage.clone()),
                // Rejected plans are not run.
                Bson::Document(inner) if key != "rejectedPlans" => stages(inner, found),
                Bson::Array(inner) => inner.iter().filter_map(Bson::as_document).for_each(|plan| stages(plan, found)),
                _ => {}
            }
        }
    }

    fn queries() -> Vec<Query> {
        let stream = Some("gate-1".parse().unwrap());
        let mut queries = Vec::new();
        for scope in
            [TenantScope::All, TenantScope::Tenant("a".parse().unwrap()), TenantScope::Tenant(TenantId::shared())]
        {
            for stream in [None, stream.clone()] {
                let detections = DetectionFilter { stream: stream.clone(), ..Default::default() };
                let labelled = DetectionFilter { label: Some("face".to_owned()), ..detections.clone() };
                queries.push(Query::frames(&scope, &FrameFilter { stream: stream.clone(), ..Default::default() }));
                queries.push(Query::detections(&scope, &detections));
                queries.push(Query::detections(&scope, &labelled));
                let attributes = vec![("colour".parse().unwrap(), vec!["red".to_owned()])];
                queries.push(Query::detections(&scope, &DetectionFilter { attributes, ..detections }));
                queries.push(Query::alerts(&scope, &AlertFilter { stream, ..Default::default() }));
            }
        }
        queries
    }

    #[tokio::test]
    #[ignore = "needs mongodb"]
    async fn every_list_is_served_by_its_index() {
        let uri = std::env::var("SIGHTLINE_TEST_MONGODB_URI").expect("SIGHTLINE_TEST_MONGODB_URI names a replica set");
        let name = format!("sightline_test_{}", uuid::Uuid::now_v7().simple());
        let store = MongoDocuments::connect(&uri, Some(&name)).await.unwrap();
        store.check().await.unwrap();
        let database = Client::with_uri_str(&uri).await.unwrap().database(&name);
        let after = crate::PageCursor { at: Timestamp::now(), id: "x".to_owned() };
        let pages = [
            PageRequest::Newest { after: None, limit: 20 },
            PageRequest::Newest { after: Some(after), limit: 20 },
            PageRequest::Oldest { skip: 5, limit: 20 },
        ];
        for (query, page) in queries().iter().flat_map(|query| pages.iter().map(move |page| (query, page))) {
            let command = doc! {
                "find": query.collection.name(),
                "filter": filter(query, page, Timestamp::now()),
                "sort": order(page),
                "hint": query.index().name(),
                "limit": 20,
            };
            let plan = database.run_command(doc! { "explain": command, "verbosity": "queryPlanner" }).await.unwrap();
            let mut found = Vec::new();
            stages(plan.get_document("queryPlanner").unwrap().get_document("winningPlan").unwrap(), &mut found);
            assert!(found.contains(&"IXSCAN".to_owned()), "{found:?} {query:?}");
            assert!(!found.iter().any(|stage| stage == "COLLSCAN" || stage == "SORT"), "{found:?} {query:?} {page:?}");
        }
        for collection in Collection::ALL {
            let indexes = database.collection::<Document>(collection.name()).list_index_names().await.unwrap();
            let expected = match collection {
                Collection::Results => 5,
                Collection::Detections => 8,
                Collection::Alerts => 6,
            };
            assert_eq!(indexes.len(), expected, "{indexes:?}");
        }
        database.drop().await.unwrap();
    }
}
