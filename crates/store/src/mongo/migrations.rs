//! Migrates a database to this version.
//!
//! The document `sightline` in the collection `meta` contains the version. MongoDB has no transaction over index builds, so every
//! step is repeatable: a killed process leaves the previous version, and the next start repeats the step. Several processes may
//! migrate at once; they run the same steps, and the version only grows.
//!
//! Every start runs all steps, so a dropped index is created again.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};

use super::errors::{CallError, DUPLICATE_KEY, shortened, write_error_code};
use crate::query::{Collection, ListIndex};
use crate::schema_step::Effect::{self, Adds};
use crate::schema_step::compatible_from;
use crate::{Migrated, StoreError};

/// What each step does. 1: collections and indexes. 2: attributes of detections; older documents have none and need no change. 3: the
/// marker says which programs can use the database. 4: indexes of streams. 5: the index
/// of streams with a retention. 6: indexes of subjects on detections and alerts. 7: the index of watchlists.
const EFFECTS: [Effect; VERSION as usize] = [Adds; VERSION as usize];
/// The version that this program reads and writes.
const VERSION: i32 = 7;
/// Index of detections and alerts by the subject in their attributes.
pub(crate) const BY_SUBJECT: &str = "by_subject";
/// Index of detections by the subject that was rejected.
pub(crate) const BY_REJECTED: &str = "by_rejected";
/// Index of watchlists.
pub(crate) const WATCHLISTS_BY_TENANT: &str = "by_tenant";
const META: &str = "meta";
const MARKER: &str = "sightline";

/// What each step does.
#[cfg(test)]
pub(crate) fn effects() -> Vec<Effect> {
    EFFECTS.to_vec()
}

/// Migrates a database.
///
/// # Errors
/// `Fatal`, with nothing changed, if the database belongs to another program or a later version that changed what this one uses.
pub(super) async fn migrate(database: &Database, shown: &str) -> Result<Migrated, CallError> {
    let recorded = recorded_version(database, shown).await?;
    for (version, effect) in (1..=VERSION).zip(EFFECTS) {
        if version > recorded && effect == Effect::Changes {
            // Before the first change, so that an earlier program also refuses a database in which the step was interrupted.
            grow(database, doc! { "compatible_from": i64::from(version) }).await?;
        }
        step(database, version).await?;
        if version > recorded {
            record(database, version).await?;
        }
    }
    Ok(Migrated { from: i64::from(recorded), to: i64::from(recorded.max(VERSION)) })
}

/// The version of a database; 0 if it is empty.
async fn recorded_version(database: &Database, shown: &str) -> Result<i32, CallError> {
    let names = database.list_collection_names().await?;
    let foreign = names.iter().find(|name| holds_documents(name));
    let marker = database.collection::<Document>(META).find_one(doc! { "_id": MARKER }).await?;
    let oldest = marker.as_ref().and_then(|marker| marker.get_i64("compatible_from").ok());
    if let Some(oldest) = oldest.filter(|oldest| *oldest > i64::from(VERSION)) {
        return Err(StoreError::Fatal(format!(
            "{shown} needs a program of schema version {oldest} or later, this program knows {VERSION}; run the version that \
             migrated it, or restore the backup that was taken before (nothing was changed)"
        ))
        .into());
    }
    let newest = if oldest.is_some() { i32::MAX } else { VERSION };
    match (marker.map(|marker| marker.get_i32("version")), foreign) {
        (Some(Ok(version)), _) if (0..=newest).contains(&version) => Ok(version),
        (Some(version), _) => Err(StoreError::Fatal(format!(
            "{shown} has schema version {}, this program knows {VERSION}; run the version that wrote it, or name another \
             database with SIGHTLINE_MONGODB_DATABASE (nothing was changed)",
            version.map_or_else(|_| "unknown".to_owned(), |version| version.to_string())
        ))
        .into()),
        (None, None) => record(database, 0).await.map(|()| 0),
        (None, Some(name)) => Err(StoreError::Fatal(format!(
            "{shown} holds collections that are not Sightline's (such as {name}); name an empty database with \
             SIGHTLINE_MONGODB_DATABASE (nothing was changed)"
        ))
        .into()),
    }
}

/// Whether a collection of the database holds documents: all but the version's and the server's own.
pub(super) fn holds_documents(name: &str) -> bool {
    name != META && !name.starts_with("system.")
}

/// Records `version`, unless another process has recorded a later one.
async fn record(database: &Database, version: i32) -> Result<(), CallError> {
    let steps = usize::try_from(version).unwrap_or_default();
    let oldest = compatible_from(EFFECTS.into_iter().take(steps));
    grow(database, doc! { "version": version, "compatible_from": oldest }).await
}

/// Raises numbers of the marker.
async fn grow(database: &Database, numbers: Document) -> Result<(), CallError> {
    let meta = database.collection::<Document>(META);
    match meta.update_one(doc! { "_id": MARKER }, doc! { "$max": numbers }).upsert(true).await {
        // Another process created the document with 0 at the same time; it runs the steps too.
        Err(error) if write_error_code(&error) != Some(DUPLICATE_KEY) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Runs one step. A step is repeatable, and never changes after a release.
async fn step(database: &Database, version: i32) -> Result<(), CallError> {
    match version {
        1 => list_indexes(database).await,
        2 => attribute_index(database).await,
        4 => stream_indexes(database).await,
        5 => stream_retention_index(database).await,
        6 => subject_indexes(database).await,
        7 => watchlist_index(database).await,
        _ => Ok(()),
    }
}

fn named(name: &str) -> IndexOptions {
    IndexOptions::builder().name(name.to_owned()).build()
}

fn index(keys: Document, options: IndexOptions) -> IndexModel {
    IndexModel::builder().keys(keys).options(options).build()
}

/// Five indexes for each collection: `_id`, three for lists, one for expiry.
async fn list_indexes(database: &Database) -> Result<(), CallError> {
    for collection in Collection::ALL {
        // Partial: many frames have no stream, and take no space in this index.
        let mut streamed = named(ListIndex::Stream.name());
        streamed.partial_filter_expression = Some(doc! { "stream": { "$exists": true } });
        let mut expiring = named("by_expiry");
        expiring.expire_after = Some(Duration::ZERO);
        let indexes = [
            index(doc! { "at": 1, "_id": 1 }, named(ListIndex::Time.name())),
            index(doc! { "tenant": 1, "at": 1, "_id": 1 }, named(ListIndex::Tenant.name())),
            index(doc! { "stream": 1, "at": 1, "_id": 1 }, streamed),
            index(doc! { "expires_at": 1 }, expiring),
        ];
        database.collection::<Document>(collection.name()).create_indexes(indexes).await.map_err(index_conflict)?;
    }
    rule_indexes(database).await
}

async fn rule_indexes(database: &Database) -> Result<(), CallError> {
    let rules = database.collection::<Document>("rules");
    let by_tenant = index(doc! { "tenant": 1, "name": 1, "_id": 1 }, named("by_tenant"));
    rules.create_index(by_tenant).await.map_err(index_conflict)?;
    let mut unique = named("by_name");
    unique.unique = Some(true);
    match rules.create_index(index(doc! { "tenant": 1, "name": 1 }, unique)).await {
        // Rules from before this index may share a name. The program starts anyway.
        Err(error) if is_command(&error, &[DUPLICATE_KEY]) => {
            tracing::warn!("rules of one tenant have the same name; rename or delete all but one of them");
            Ok(())
        }
        made => made.map(drop).map_err(index_conflict),
    }
}

/// A partial index: only detections with attributes other than the vehicle's four.
async fn attribute_index(database: &Database) -> Result<(), CallError> {
    let mut options = named(ListIndex::Attributes.name());
    options.partial_filter_expression = Some(doc! { "attributes": { "$exists": true } });
    let by_attributes = index(doc! { "tenant": 1, "at": 1, "_id": 1 }, options);
    let detections = database.collection::<Document>(Collection::Detections.name());
    detections.create_index(by_attributes).await.map(drop).map_err(index_conflict)
}

/// For lists and counts, for the streams with detectors of all tenants, and for expiry.
async fn stream_indexes(database: &Database) -> Result<(), CallError> {
    let mut with_detectors = named("by_detectors");
    with_detectors.partial_filter_expression = Some(doc! { "detectors": { "$exists": true } });
    let mut expiring = named("by_expiry");
    expiring.expire_after = Some(Duration::ZERO);
    let indexes = [
        index(doc! { "tenant": 1, "name": 1 }, named("by_tenant")),
        index(doc! { "detectors": 1 }, with_detectors),
        index(doc! { "expires_at": 1 }, expiring),
    ];
    database.collection::<Document>("streams").create_indexes(indexes).await.map(drop).map_err(index_conflict)
}

async fn stream_retention_index(database: &Database) -> Result<(), CallError> {
    let mut with_retention = named("by_retention");
    with_retention.partial_filter_expression = Some(doc! { "retention_days": { "$exists": true } });
    let streams = database.collection::<Document>("streams");
    streams.create_index(index(doc! { "retention_days": 1 }, with_retention)).await.map(drop).map_err(index_conflict)
}

/// Partial indexes: only detections and alerts with the id of a subject, and detections whose subject was rejected.
async fn subject_indexes(database: &Database) -> Result<(), CallError> {
    for (collection, name, field) in [
        (Collection::Detections, BY_SUBJECT, "attributes.subject"),
        (Collection::Detections, BY_REJECTED, "rejected.subject"),
        (Collection::Alerts, BY_SUBJECT, "attributes.subject"),
    ] {
        let mut with_subject = named(name);
        with_subject.partial_filter_expression = Some(doc! { field: { "$exists": true } });
        let by_subject = index(doc! { "tenant": 1, field: 1 }, with_subject);
        let documents = database.collection::<Document>(collection.name());
        documents.create_index(by_subject).await.map_err(index_conflict)?;
    }
    Ok(())
}

/// The indexer reads the revisions of all lists each second, from this index alone.
async fn watchlist_index(database: &Database) -> Result<(), CallError> {
    let by_tenant = index(doc! { "tenant": 1, "name": 1, "revision": 1 }, named(WATCHLISTS_BY_TENANT));
    let watchlists = database.collection::<Document>("watchlists");
    watchlists.create_index(by_tenant).await.map(drop).map_err(index_conflict)
}

fn is_command(error: &mongodb::error::Error, codes: &[i32]) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if codes.contains(&command.code))
}

/// Maps the error of an index that exists with other keys or options.
fn index_conflict(error: mongodb::error::Error) -> CallError {
    match error.kind.as_ref() {
        ErrorKind::Command(command) if [85, 86].contains(&command.code) => StoreError::Fatal(format!(
            "an index in the database of SIGHTLINE_MONGODB_DATABASE was changed; drop it, the next start creates it \
             again ({})",
            shortened(&command.message)
        ))
        .into(),
        _ => error.into(),
    }
}
