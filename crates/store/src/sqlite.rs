//! Documents in one SQLite file, for `sightline up`.
//!
//! One thread writes. It groups waiting writes into one transaction and syncs it to disk, so an acknowledged write survives a
//! power cut. Reads run on blocking threads with their own connections. With the write-ahead log, reads never wait for the writer.

mod errors;
mod migrations;
mod put;
mod reader;
mod select;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::api::Count;
use contracts::{Detection, DetectionId, FrameId, Rule, RuleId, TenantId};
use jiff::Timestamp;
use rusqlite::{Connection, Row, ToSql, params, params_from_iter};
use serde::de::DeserializeOwned;

use crate::query::{Collection, Query};
use crate::stored_docs::{AlertDoc, DetectionDoc, ResultDoc, hour_key};
use crate::{
    AlertFilter, DetectionFilter, Documents, FrameFilter, GroupBy, GroupCounts, Indexed, Migrated, PageRequest,
    PutOutcome, PutRuleOutcome, StoreError, StoredAlert, StoredDetection, StoredResult, TenantScope,
};
use errors::store_error;
use reader::Readers;
use select::Select;
use writer::Writer;

/// Time limit for waiting for another process's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum number of documents that one transaction deletes.
const DELETE_BATCH: usize = 2_000;

/// Documents in a SQLite file.
pub struct SqliteDocuments {
    path: PathBuf,
    writer: Writer,
    readers: Arc<Readers>,
    migrated: Migrated,
}

impl SqliteDocuments {
    /// Opens or creates the file and migrates it. Blocking.
    ///
    /// # Errors
    /// `Fatal`, with the file unchanged, if it belongs to another program or a later version. `Unavailable` if another process
    /// has locked it, or it cannot be written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let mut connection = connect(path)?;
        let migrated = migrations::migrate(&mut connection, path)?;
        // After the migration, because this writes to the file, and a file of another program must stay unchanged.
        let failed = |error| store_error(path, &error);
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        let readers = Readers::open(path)?;
        let writer = Writer::start(connection, path.to_owned())?;
        let opened = Self { path: path.to_owned(), writer, readers, migrated };
        migrated.log(&opened.describe());
        Ok(opened)
    }

    /// The migration during opening: the versions before and after.
    pub const fn migrated(&self) -> Migrated {
        self.migrated
    }

    async fn read<T, Q>(&self, query: Q) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> Result<T, CallError> + Send + 'static,
    {
        let path = self.path.clone();
        self.readers.read(move |connection| query(connection).map_err(|error| error.into_store_error(&path))).await
    }

    async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, CallError> + Send + 'static,
    {
        let path = self.path.clone();
        self.writer.write(move |connection| work(connection).map_err(|error| error.into_store_error(&path))).await
    }

    /// Deletes the rows that match a condition, in batches, so that other writes can run in between.
    async fn delete(
        &self,
        table: &'static str,
        condition: &'static str,
        value: &(impl ToSql + Clone + Send + Sync + 'static),
    ) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let value = value.clone();
            let some = self.write(move |connection| {
                let sql = format!(
                    "DELETE FROM {table} WHERE rowid IN
                     (SELECT rowid FROM {table} WHERE {condition} LIMIT {DELETE_BATCH})"
                );
                Ok(connection.prepare_cached(&sql)?.execute([value])?)
            });
            let some = some.await?;
            deleted += some as u64;
            if some < DELETE_BATCH {
                return Ok(deleted);
            }
        }
    }

    async fn page<D: DeserializeOwned + Send + 'static>(
        &self,
        query: Query,
        page: &PageRequest,
    ) -> Result<Vec<D>, StoreError> {
        let Select { sql, params } = Select::page(&query, page, Timestamp::now(), true);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_and_then(params_from_iter(params), document)?.collect()
        })
        .await
    }

    async fn results(&self, query: Query, page: PageRequest) -> Result<Vec<Vec<StoredResult>>, StoreError> {
        let Select { sql, params } = Select::page(&query, &page, Timestamp::now(), false);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut frames = crate::frame_pages::FramePageBuilder::new(&page);
            for doc in statement.query_and_then(params_from_iter(params), document)? {
                if frames.add(doc?).is_break() {
                    break;
                }
            }
            let with_detections = |doc: ResultDoc<'static>| {
                let detections = detections(connection, &doc)?;
                Ok(doc.into_stored(detections)?)
            };
            frames.into_frames().map(|frame| frame.into_iter().map(with_detections).collect()).collect()
        })
        .await
    }
}

/// Opens a connection with the common settings.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let failed = |error| store_error(path, &error);
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(LOCK_TIMEOUT).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Error inside a read or write, before it is mapped for the caller.
enum CallError {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl CallError {
    fn into_store_error(self, path: &Path) -> StoreError {
        match self {
            Self::Sqlite(error) => store_error(path, &error),
            Self::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for CallError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Reads the document from the column `doc` of a row.
fn document<D: DeserializeOwned>(row: &Row<'_>) -> Result<D, CallError> {
    let doc = row.get_ref("doc")?.as_str().map_err(rusqlite::Error::from)?;
    serde_json::from_str(doc)
        .map_err(|error| StoreError::Fatal(format!("a stored document cannot be read: {error}")).into())
}

/// The detections of a result, ordered by index.
fn detections(connection: &Connection, result: &ResultDoc<'_>) -> Result<Vec<Detection>, CallError> {
    if result.count == 0 {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached("SELECT doc FROM detections WHERE id > ? AND id < ?")?;
    let [from, to] = crate::frame_pages::detection_range(&result.id);
    let docs = statement.query_and_then([from, to], document::<DetectionDoc<'static>>)?;
    let stored = docs.map(|doc| Ok(doc?.into_stored()?)).collect::<Result<_, CallError>>()?;
    Ok(crate::frame_pages::sorted_by_index(stored))
}

#[async_trait]
impl Documents for SqliteDocuments {
    fn describe(&self) -> String {
        format!("SQLite at {}", self.path.display())
    }

    async fn put(&self, batch: &[Indexed]) -> Result<Vec<PutOutcome>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let batch = batch.to_vec();
        self.write(move |connection| put::put(connection, &batch)).await
    }

    async fn frame(&self, scope: &TenantScope, id: FrameId) -> Result<Vec<StoredResult>, StoreError> {
        let scope = scope.clone();
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT doc FROM results WHERE id > ? AND id < ? AND expires_at > ? ORDER BY id")?;
            let [from, to] = crate::frame_pages::result_range(&id);
            let docs = statement.query_and_then(params![from, to, now()], document::<ResultDoc<'static>>)?;
            let mut results = Vec::new();
            for doc in docs {
                let doc = doc?;
                let detections = detections(connection, &doc)?;
                results.push(doc.into_stored(detections)?);
            }
            results.retain(|stored: &StoredResult| scope.includes(&stored.result.tenant));
            Ok(results)
        })
        .await
    }

    async fn frames(
        &self,
        scope: &TenantScope,
        filter: &FrameFilter,
        page: &PageRequest,
    ) -> Result<Vec<Vec<StoredResult>>, StoreError> {
        self.results(Query::frames(scope, filter), page.clone()).await
    }

    async fn detection(&self, scope: &TenantScope, id: &DetectionId) -> Result<Option<StoredDetection>, StoreError> {
        let id = id.to_string();
        let read = self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT doc FROM detections WHERE id = ? AND expires_at > ?")?;
            let mut docs = statement.query_and_then(params![id, now()], document::<DetectionDoc<'static>>)?;
            docs.next().transpose()
        });
        let stored = read.await?.map(DetectionDoc::into_stored).transpose()?;
        Ok(stored.filter(|stored| scope.includes(&stored.tenant)))
    }

    async fn detections(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredDetection>, StoreError> {
        let docs: Vec<DetectionDoc<'static>> = self.page(Query::detections(scope, filter), page).await?;
        docs.into_iter().map(DetectionDoc::into_stored).collect()
    }

    async fn count(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        group_by: GroupBy,
    ) -> Result<GroupCounts, StoreError> {
        let query = Query::detections(scope, filter).grouped(&group_by);
        let Select { sql, params } = Select::count(&query, &group_by, Timestamp::now());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(params))?;
            let mut counted = Vec::new();
            while let Some(row) = rows.next()? {
                let key = if group_by == GroupBy::Hour { hour_key(row.get(0)?)? } else { row.get(0)? };
                let count: i64 = row.get(1)?;
                counted.push(Count { key, count: count.unsigned_abs() });
            }
            if group_by == GroupBy::Hour {
                counted.reverse();
            }
            Ok(counted)
        })
        .await
    }

    async fn alerts(
        &self,
        scope: &TenantScope,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredAlert>, StoreError> {
        let docs: Vec<AlertDoc<'static>> = self.page(Query::alerts(scope, filter), page).await?;
        docs.into_iter().map(AlertDoc::into_stored).collect()
    }

    async fn all_rules(&self) -> Result<Vec<Rule>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT doc FROM rules ORDER BY name, id")?;
            statement.query_and_then([], document)?.collect()
        })
        .await
    }

    async fn rules(&self, tenant: &TenantId) -> Result<Vec<Rule>, StoreError> {
        let tenant = tenant.to_string();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT doc FROM rules WHERE tenant = ? ORDER BY name, id")?;
            statement.query_and_then([tenant], document)?.collect()
        })
        .await
    }

    async fn put_rule(&self, rule: &Rule) -> Result<PutRuleOutcome, StoreError> {
        let tenant = crate::documents::owner(rule)?.to_string();
        let (id, name, doc) = (rule.id.to_string(), rule.name.clone(), put::json(rule)?);
        self.write(move |connection| {
            // There is one writer, so no other write runs between this query and the next statement.
            let taken: bool = connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM rules WHERE tenant = ?2 AND name = ?3 AND id <> ?1)
                     AND NOT EXISTS (SELECT 1 FROM rules WHERE tenant = ?2 AND name = ?3 AND id = ?1)",
                )?
                .query_row([&id, &tenant, &name], |row| row.get(0))?;
            if taken {
                return Ok(PutRuleOutcome::NameTaken);
            }
            let written = connection
                .prepare_cached(
                    "INSERT INTO rules (id, tenant, name, doc) VALUES (?, ?, ?, ?)
                     ON CONFLICT (id) DO UPDATE SET name = excluded.name, doc = excluded.doc
                     WHERE tenant = excluded.tenant",
                )?
                .execute([&id, &tenant, &name, &doc])?;
            if written == 1 {
                Ok(PutRuleOutcome::Stored)
            } else {
                Err(crate::documents::rule_of_other_tenant(&id).into())
            }
        })
        .await
    }

    async fn delete_rule(&self, tenant: &TenantId, id: RuleId) -> Result<bool, StoreError> {
        let (tenant, id) = (tenant.to_string(), id.to_string());
        self.write(move |connection| {
            let mut delete = connection.prepare_cached("DELETE FROM rules WHERE tenant = ? AND id = ?")?;
            Ok(delete.execute([tenant, id])? == 1)
        })
        .await
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for table in ["rules"].into_iter().chain(Collection::ALL.map(Collection::name)) {
            deleted += self.delete(table, "tenant = ?", &tenant.to_string()).await?;
        }
        Ok(deleted)
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for collection in Collection::ALL {
            deleted += self.delete(collection.name(), "expires_at <= ?", &now.as_microsecond()).await?;
        }
        Ok(deleted)
    }

    async fn check(&self) -> Result<(), StoreError> {
        // `BEGIN IMMEDIATE` fails if the database is not writable.
        self.write(|_| Ok(())).await
    }
}

fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
