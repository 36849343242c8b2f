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

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use contracts::api::Count;
use contracts::{Detection, DetectionId, FrameId, TenantId};
use jiff::Timestamp;
use rusqlite::{Connection, Row, ToSql, params, params_from_iter};
use serde::de::DeserializeOwned;

use crate::query::{Collection, Query};
use crate::results::first_groups;
use crate::stored_docs::{AlertDoc, DetectionDoc, ResultDoc, hour_key};
use crate::{
    AlertFilter, DetectionFilter, FrameFilter, GroupBy, GroupCounts, Indexed, Migrated, PageRequest, PutOutcome,
    ResultStore, StoreError, StoredAlert, StoredDetection, StoredResult, TenantScope,
};
use errors::{OpenFile, store_error};
pub(crate) use migrations::COMPATIBLE_VERSIONS;
#[cfg(test)]
pub(crate) use migrations::effects;
pub(crate) use put::json;
use reader::Readers;
use select::Select;
use writer::Writer;

/// Time limit for waiting for another process's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);
/// Moves the journal into the file and empties it. The first number of the row is 1 if a reader or writer held it up.
pub(crate) const EMPTY_JOURNAL: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
/// Maximum number of documents that one transaction deletes.
const DELETE_BATCH: usize = 2_000;

/// Documents in a SQLite file.
pub struct SqliteDocuments {
    file: Arc<OpenFile>,
    writer: Writer,
    readers: Arc<Readers>,
    migrated: Migrated,
}

impl SqliteDocuments {
    /// The schema version that this program reads and writes.
    pub const VERSION: i64 = migrations::VERSION as i64;

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
        // A forgotten subject's id is overwritten where it stood, and not only marked as free. FAST would leave it in pages that become
        // free as a whole.
        connection.pragma_update(None, "secure_delete", "ON").map_err(failed)?;
        // A process that was killed may have left what it deleted in the journal.
        empty_journal(&connection).map_err(failed)?;
        let readers = Readers::open(path)?;
        let file = Arc::new(OpenFile::new(path.to_owned()));
        let writer = Writer::start(connection, Arc::clone(&file))?;
        let opened = Self { file, writer, readers, migrated };
        migrated.log(&opened.describe());
        Ok(opened)
    }

    /// The migration during opening: the versions before and after.
    pub const fn migrated(&self) -> Migrated {
        self.migrated
    }

    pub(crate) async fn read<T, Q>(&self, query: Q) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Q: FnOnce(&Connection) -> Result<T, CallError> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        self.readers.read(move |connection| query(connection).map_err(|error| error.into_store_error(&file))).await
    }

    pub(crate) async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, CallError> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        self.writer.write(move |connection| work(connection).map_err(|error| error.into_store_error(&file))).await
    }

    /// Deletes the rows that match a condition, in batches, so that other writes can run in between.
    async fn delete(
        &self,
        table: &str,
        condition: &'static str,
        value: &(impl ToSql + Clone + Send + Sync + 'static),
    ) -> Result<u64, StoreError> {
        let sql = format!(
            "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {condition} LIMIT {DELETE_BATCH})"
        );
        let mut deleted = 0;
        loop {
            let (sql, value) = (sql.clone(), value.clone());
            let some = self.write(move |connection| Ok(connection.prepare_cached(&sql)?.execute([value])?)).await?;
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
pub(crate) enum CallError {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl CallError {
    fn into_store_error(self, file: &OpenFile) -> StoreError {
        match self {
            Self::Sqlite(error) => file.error(&error),
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
pub(crate) fn document<D: DeserializeOwned>(row: &Row<'_>) -> Result<D, CallError> {
    let doc = row.get_ref("doc")?.as_str().map_err(rusqlite::Error::from)?;
    serde_json::from_str(doc)
        .map_err(|error| StoreError::Fatal(format!("a stored document cannot be read: {error}")).into())
}

/// The tables with a tenant, rules first.
fn tenant_tables(connection: &Connection) -> Result<Vec<String>, CallError> {
    let mut statement = connection.prepare_cached(
        "SELECT tables.name FROM sqlite_schema AS tables WHERE tables.type = 'table' AND EXISTS
         (SELECT 1 FROM pragma_table_info(tables.name) AS columns WHERE columns.name = 'tenant')
         ORDER BY tables.name <> 'rules', tables.name",
    )?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The detections of a result, ordered by index.
fn detections(connection: &Connection, result: &ResultDoc<'_>) -> Result<Vec<Detection>, CallError> {
    if result.count == 0 {
        return Ok(Vec::new());
    }
    // `+` keeps the planner from reading all that have not expired. Those of strangers may expire before the result.
    let sql = "SELECT doc FROM detections WHERE id > ? AND id < ? AND +expires_at > ?";
    let mut statement = connection.prepare_cached(sql)?;
    let [from, to] = crate::frame_pages::detection_range(&result.id);
    let docs = statement.query_and_then(params![from, to, now()], document::<DetectionDoc<'static>>)?;
    let stored = docs.map(|doc| Ok(doc?.into_stored()?)).collect::<Result<_, CallError>>()?;
    Ok(crate::frame_pages::sorted_by_index(stored))
}

#[async_trait]
impl ResultStore for SqliteDocuments {
    fn describe(&self) -> String {
        format!("SQLite at {}", self.file.path().display())
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
            let mut counted = first_groups(counted);
            if group_by == GroupBy::Hour {
                counted.items.reverse();
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
        self.without_rejected(docs).await?.into_iter().map(AlertDoc::into_stored).collect()
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for table in self.read(tenant_tables).await? {
            deleted += self.delete(&table, "tenant = ?", &tenant.to_string()).await?;
        }
        Ok(deleted)
    }

    async fn empty_journal(&self) {
        match self.writer.empty_journal().await {
            Ok(true) => {}
            Ok(false) => tracing::warn!("the journal of the documents is being read and still has what was deleted"),
            Err(error) => tracing::warn!(%error, "the journal of the documents could not be emptied"),
        }
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for table in Collection::ALL.map(Collection::name).into_iter().chain(["streams"]) {
            deleted += self.delete(table, "expires_at <= ?", &now.as_microsecond()).await?;
        }
        Ok(deleted)
    }

    async fn check(&self) -> Result<(), StoreError> {
        // `BEGIN IMMEDIATE` fails if the database is not writable.
        self.write(|_| Ok(())).await?;
        self.file.check()
    }
}

/// Empties the journal; `false` if another connection held it up.
fn empty_journal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(EMPTY_JOURNAL, [], |row| row.get::<_, i64>(0)).map(|held_up| held_up == 0)
}

fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
