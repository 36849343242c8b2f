//! The places that have one of the texts: tables, collections, keys of images, topics, names of photographs that wait, Redis.
//!
//! Rows and messages of other tenants are places by themselves: anybody may write a text that is somebody else's id.
//! The embedded log is read from its files, beside the `up` that has it open: an acknowledged message is in a file.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use accounts::redis_keys_with;
use anyhow::Context;
use bus::embedded::LogFiles;
use bus::{Bus, RangeReader};
use contracts::{Message, Topics};
use store::{MongoDocuments, ObjectBlobs, Owner, Relational, TableRows, has_any, sqlite_rows_with};
use tokio::task::block_in_place;

use super::Check;
use crate::topics::kafka;
use crate::up::dependencies::{ACCOUNTS_FILE, BLOBS_FOLDER, DOCUMENTS_FILE, LOG_FOLDER};

/// Time limit for the next message of a topic.
const NEXT_TIMEOUT: Duration = Duration::from_secs(60);
/// The table of the messages in a segment of the embedded log.
const MESSAGES: &str = "message";
/// The header of a message with its tenant.
const TENANT: &str = "ce_tenant";
/// The folder of uploads.
const UPLOADS: &str = "uploads";
/// What services share.
const REDIS: &str = "redis";

/// A place that has the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    store: &'static str,
    name: String,
    count: u64,
    /// The columns of a table that have it.
    columns: Vec<(String, u64)>,
    of_others: bool,
}

impl Place {
    pub(super) fn of_table(store: &'static str, table: TableRows) -> Self {
        Self { store, name: table.table, count: table.rows, columns: table.columns, of_others: false }
    }

    fn new(store: &'static str, name: String, count: u64) -> Option<Self> {
        (count > 0).then_some(Self { store, name, count, columns: Vec::new(), of_others: false })
    }

    /// What other tenants have there.
    fn of_others(store: &'static str, name: String, count: u64) -> Option<Self> {
        Self::new(store, name, count).map(|place| Self { of_others: true, ..place })
    }

    fn all_of_tables(store: &'static str, tables: Vec<TableRows>) -> Vec<Self> {
        let of_table = |table: TableRows| {
            let others = Self::of_others(store, table.table.clone(), table.others);
            (table.rows > 0).then(|| Self::of_table(store, table)).into_iter().chain(others)
        };
        tables.into_iter().flat_map(of_table).collect()
    }

    /// Whether other tenants have it there. No deletion touches that.
    pub const fn is_of_others(&self) -> bool {
        self.of_others
    }

    /// The place's name in a receipt.
    pub fn in_receipt(&self) -> String {
        match (self.store, self.name.as_str()) {
            ("topic", topic) => format!("topic {topic}"),
            ("accounts", "face_former_subjects") => "deleted subjects".to_owned(),
            ("accounts", "deleted_tenants") => faces::DELETED_USERS.to_owned(),
            ("images", "inbox") => "images in the inbox".to_owned(),
            (UPLOADS, _) => faces::PHOTOGRAPHS.to_owned(),
            (store, name) => format!("{store} {name}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.store, self.name, self.count)?;
        let columns: Vec<String> = self.columns.iter().map(|(column, rows)| format!("{column} {rows}")).collect();
        if columns.is_empty() { Ok(()) } else { write!(f, " ({})", columns.join(", ")) }
    }
}

impl Check {
    pub(super) async fn in_accounts(
        &self,
        accounts: &Relational,
        texts: &[String],
        owner: Option<&str>,
    ) -> anyhow::Result<Vec<Place>> {
        let owner = owner.map(Owner::of_rows);
        let tables = match &self.database.database_url {
            Some(_) => accounts.postgres_rows_with(texts, owner).await?,
            None => {
                let (_, file) = self.part(ACCOUNTS_FILE)?;
                block_in_place(|| sqlite_rows_with(&file, texts, owner))?
            }
        };
        Ok(Place::all_of_tables("accounts", tables))
    }

    pub(super) async fn in_documents(&self, texts: &[String], owner: Option<&str>) -> anyhow::Result<Vec<Place>> {
        let owner = owner.map(Owner::of_rows);
        let tables = match &self.mongo.mongodb_uri {
            Some(uri) => {
                let database = self.mongo.mongodb_database.as_deref();
                MongoDocuments::connect(uri.expose(), database).await?.rows_with(texts, owner).await?
            }
            None => {
                let (_, file) = self.part(DOCUMENTS_FILE)?;
                block_in_place(|| sqlite_rows_with(&file, texts, owner))?
            }
        };
        Ok(Place::all_of_tables("documents", tables))
    }

    pub(super) async fn in_images(&self, texts: &[String]) -> anyhow::Result<Vec<Place>> {
        let blobs = match &self.blobs.blob_url {
            Some(url) => ObjectBlobs::open(url).context("SIGHTLINE_BLOB_URL")?,
            None => ObjectBlobs::folder(self.part(BLOBS_FOLDER)?.1)?,
        };
        let kinds = blobs.keys_with(texts).await?;
        Ok(kinds.into_iter().filter_map(|(kind, count)| Place::new("images", kind, count)).collect())
    }

    pub(super) async fn in_log(
        &self,
        topics: &Topics,
        texts: &[String],
        owner: Option<&str>,
    ) -> anyhow::Result<Vec<Place>> {
        if self.kafka.kafka_brokers.is_some() {
            return self.in_kafka(topics, texts, owner).await;
        }
        let (_, folder) = self.part(LOG_FOLDER)?;
        let owner = owner.map(|tenant| Owner { tenant, column: "headers", mark: TENANT });
        block_in_place(|| in_embedded_log(&folder, texts, owner))
    }

    /// Photographs with the tenant of their user in their name.
    pub(super) fn in_uploads(&self, texts: &[String]) -> anyhow::Result<Option<Place>> {
        let Some(folder) = &self.uploads.faces_uploads_dir else { return Ok(None) };
        let count = block_in_place(|| files_with(folder, texts)).context("SIGHTLINE_FACES_UPLOADS_DIR")?;
        Ok(Place::new(UPLOADS, "photographs".to_owned(), count))
    }

    /// What services share in Redis: rate limits, sessions, cached answers. Without Redis it is in the memory of `up`.
    pub(super) async fn in_caches(&self, texts: &[String]) -> anyhow::Result<Vec<Place>> {
        let Some(url) = &self.redis.redis_url else { return Ok(Vec::new()) };
        let kinds = redis_keys_with(url.expose(), |bytes| has_any(bytes, texts)).await.map_err(anyhow::Error::msg)?;
        Ok(kinds.into_iter().filter_map(|(kind, count)| Place::new(REDIS, kind, count)).collect())
    }

    async fn in_kafka(&self, topics: &Topics, texts: &[String], owner: Option<&str>) -> anyhow::Result<Vec<Place>> {
        let bus = kafka(&self.kafka, topics).await?;
        let mut found = Vec::new();
        for role in topics.roles() {
            let ranges = bus.ranges(role).await?;
            let mut reader = RangeReader::open(&bus, role, &ranges).await?;
            let (mut own, mut others) = (0, 0);
            loop {
                let next = tokio::time::timeout(NEXT_TIMEOUT, reader.next()).await;
                let next = next.with_context(|| format!("{role}: no message arrived within {NEXT_TIMEOUT:?}"))??;
                let Some(delivery) = next else { break };
                let message = &delivery.message;
                let count = if is_of_others(message, owner) { &mut others } else { &mut own };
                *count += u64::from(message_has(message, texts));
            }
            found.extend(Place::new("topic", bus.topic(role).to_owned(), own));
            found.extend(Place::of_others("topic", bus.topic(role).to_owned(), others));
        }
        bus.close().await?;
        Ok(found)
    }
}

fn message_has(message: &Message, texts: &[String]) -> bool {
    message.key.as_deref().is_some_and(|key| has_any(key, texts))
        || has_any(&message.value, texts)
        || message.headers.iter().any(|(name, value)| has_any(name.as_bytes(), texts) || has_any(value, texts))
}

/// Whether the message is that of another tenant than the owner.
fn is_of_others(message: &Message, owner: Option<&str>) -> bool {
    let Some(owner) = owner else { return false };
    message.headers.iter().any(|(name, value)| name == TENANT && value[..] != *owner.as_bytes())
}

/// The number of files in a folder whose names have one of the texts.
fn files_with(folder: &Path, texts: &[String]) -> io::Result<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder)? {
        count += u64::from(has_any(entry?.file_name().as_encoded_bytes(), texts));
    }
    Ok(count)
}

fn in_embedded_log(folder: &Path, texts: &[String], owner: Option<Owner<'_>>) -> anyhow::Result<Vec<Place>> {
    let mut found = Vec::new();
    for segments in LogFiles::list(folder)?.topics {
        let (mut own, mut others) = (0, 0);
        for segment in &segments {
            match sqlite_rows_with(segment, texts, owner) {
                Ok(tables) => {
                    for table in tables.iter().filter(|table| table.table == MESSAGES) {
                        own += table.rows;
                        others += table.others;
                    }
                }
                // Retention dropped it, and all that are older.
                Err(_) if !segment.exists() => break,
                Err(error) => return Err(error.into()),
            }
        }
        let topic = segments.first().and_then(|segment| segment.parent()?.file_stem());
        let topic = topic.map_or_else(String::new, |topic| topic.to_string_lossy().into_owned());
        found.extend(Place::new("topic", topic.clone(), own));
        found.extend(Place::of_others("topic", topic, others));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_with_its_columns_and_named_as_in_a_receipt() {
        let columns = vec![("doc".to_owned(), 2), ("rejected".to_owned(), 1)];
        let table = TableRows { table: "detections".to_owned(), rows: 3, others: 1, columns };
        let all = Place::all_of_tables("documents", vec![table.clone(), TableRows { rows: 0, ..table.clone() }]);
        let all: Vec<_> = all.iter().map(|place| (place.count, place.is_of_others())).collect();
        assert_eq!(all, [(3, false), (1, true), (1, true)]);
        assert_eq!(Place::of_table("documents", table).to_string(), "documents detections 3 (doc 2, rejected 1)");
        let named = |store, name: &str| Place::new(store, name.to_owned(), 1).unwrap().in_receipt();
        assert_eq!(named("accounts", "face_former_subjects"), "deleted subjects");
        assert_eq!(named("accounts", "deleted_tenants"), faces::DELETED_USERS);
        assert_eq!(named("uploads", "photographs"), faces::PHOTOGRAPHS);
        assert_eq!(named("topic", "sightline.results"), "topic sightline.results");
        assert_eq!(Place::new("topic", "sightline.alerts".to_owned(), 0), None);
    }
}
