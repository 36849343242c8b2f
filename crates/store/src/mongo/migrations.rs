//! The version of a database: which steps it has, and the steps that it lacks.
//!
//! The document `sightline` of the collection `meta` holds the version. MongoDB has no transaction over index builds, so every
//! step can be repeated: a process that is killed in between leaves the version before, and the next start takes the step
//! again. Several processes may start at once: they take the same steps, and the version only grows.
//!
//! Indexes are checked at every start, so one that was dropped comes back.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};

use super::errors::{CallError, DUPLICATE_KEY, shortened, write_error_code};
use crate::query::{Collection, ListIndex};
use crate::{Migrated, StoreError};

/// The version that this program reads and writes. Version 1 has the collections and their indexes, version 2 the attributes
/// of detections: older documents have none and read as they are.
const VERSION: i32 = 2;
const META: &str = "meta";
const MARKER: &str = "sightline";

/// Takes the steps that a database lacks.
///
/// # Errors
/// `Fatal`, with nothing changed, when the database is another program's or a later version's.
pub(super) async fn migrate(database: &Database, shown: &str) -> Result<Migrated, CallError> {
    let recorded = recorded_version(database, shown).await?;
    for version in 1..=VERSION {
        step(database, version).await?;
        if version > recorded {
            record(database, version).await?;
        }
    }
    Ok(Migrated { from: i64::from(recorded), to: i64::from(VERSION) })
}

/// The database's version, 0 for an empty one.
async fn recorded_version(database: &Database, shown: &str) -> Result<i32, CallError> {
    let names = database.list_collection_names().await?;
    let foreign = names.iter().find(|name| *name != META && !name.starts_with("system."));
    let marker = database.collection::<Document>(META).find_one(doc! { "_id": MARKER }).await?;
    match (marker.map(|marker| marker.get_i32("version")), foreign) {
        (Some(Ok(version)), _) if (0..=VERSION).contains(&version) => Ok(version),
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

/// Notes that a database has `version`, unless another process has already noted a later one.
async fn record(database: &Database, version: i32) -> Result<(), CallError> {
    let meta = database.collection::<Document>(META);
    let grown = doc! { "$max": { "version": version } };
    match meta.update_one(doc! { "_id": MARKER }, grown).upsert(true).await {
        // Another process made the document at the same moment, with 0: it takes the steps too.
        Err(error) if write_error_code(&error) != Some(DUPLICATE_KEY) => Err(error.into()),
        _ => Ok(()),
    }
}

/// One step. A released step stays as it is; it may be taken again at any time.
async fn step(database: &Database, version: i32) -> Result<(), CallError> {
    match version {
        1 => list_indexes(database).await,
        2 => attribute_index(database).await,
        _ => Ok(()),
    }
}

fn named(name: &str) -> IndexOptions {
    IndexOptions::builder().name(name.to_owned()).build()
}

fn index(keys: Document, options: IndexOptions) -> IndexModel {
    IndexModel::builder().keys(keys).options(options).build()
}

/// Five indexes for each collection, `_id` included: three to page by, one to delete by.
async fn list_indexes(database: &Database) -> Result<(), CallError> {
    for collection in Collection::ALL {
        // Most frames of programs have no stream and cost this index nothing.
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
        // Rules older than this index may share a name; the program starts all the same.
        Err(error) if is_command(&error, &[DUPLICATE_KEY]) => {
            tracing::warn!("rules of one tenant have the same name; rename or delete all but one of them");
            Ok(())
        }
        made => made.map(drop).map_err(index_conflict),
    }
}

/// The detections that have attributes beside the vehicle's four; all others cost it nothing.
async fn attribute_index(database: &Database) -> Result<(), CallError> {
    let mut options = named(ListIndex::Attributes.name());
    options.partial_filter_expression = Some(doc! { "attributes": { "$exists": true } });
    let by_attributes = index(doc! { "tenant": 1, "at": 1, "_id": 1 }, options);
    let detections = database.collection::<Document>(Collection::Detections.name());
    detections.create_index(by_attributes).await.map(drop).map_err(index_conflict)
}

fn is_command(error: &mongodb::error::Error, codes: &[i32]) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if codes.contains(&command.code))
}

/// The failure where an index of the same name has other keys or options.
fn index_conflict(error: mongodb::error::Error) -> CallError {
    match error.kind.as_ref() {
        ErrorKind::Command(command) if [85, 86].contains(&command.code) => StoreError::Fatal(format!(
            "an index of the database of SIGHTLINE_MONGODB_DATABASE is not as it was made; drop that index, it is made \
             again at the next start ({})",
            shortened(&command.message)
        ))
        .into(),
        _ => error.into(),
    }
}
