//! Connections, and statements on them; within transactions in `transaction.rs`.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, PgPool, Row as _, SqlitePool};

use super::answers::AnswerCache;
use super::failure::{DatabaseLabel, with_time_limit};
use super::foreign_database::refuse_foreign_file;
use super::transaction::{DriverTransaction, Transaction};
use super::values::{Row, Value, bind_postgres, bind_sqlite};
use crate::StoreError;
use crate::sqlite::EMPTY_JOURNAL;

/// Time limit of waiting for a free connection, or for another process's lock.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time limit of one statement in PostgreSQL, in milliseconds: less than the caller's limit, so that the server cancels first.
const STATEMENT_LIMIT: &str = "4000";
/// Connections that read a SQLite file concurrently. One more writes.
const SQLITE_READERS: u32 = 4;

/// Maximum number of subjects of a tenant, if [`Relational::with_subject_limit`](crate::Relational::with_subject_limit) sets no other.
pub const DEFAULT_SUBJECT_LIMIT: u64 = 200_000;

/// The accounts' database. Cheap to clone.
#[derive(Clone)]
pub struct Relational {
    pools: Pools,
    pub(super) label: DatabaseLabel,
    pub(super) subject_limit: u64,
    /// Whether a subject needs a recorded consent before it gets vectors.
    pub(super) consent_required: bool,
    /// Answers about users, which end with a change of faces.
    pub(super) answers: Option<Arc<dyn AnswerCache>>,
    #[cfg(test)]
    pub(super) statements: super::plans::StatementLog,
}

#[derive(Clone)]
enum Pools {
    Postgres(PgPool),
    /// SQLite allows one writer at a time. With a single connection for it, writers queue in their order instead of polling for
    /// the lock.
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
    },
}

impl Relational {
    /// Connects to PostgreSQL with at most `connections`. Neither creates nor checks tables: see [`Self::migrate`] and
    /// [`Self::check_schema`].
    ///
    /// # Errors
    /// `Fatal` for an invalid address, `Unavailable` when no server answers.
    pub async fn postgres(url: &str, connections: u32) -> Result<Self, StoreError> {
        // The cause may quote the address, which contains the password.
        let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        let options = PgConnectOptions::from_str(url).ok().filter(|_| is_postgres).ok_or_else(|| {
            let example = "postgres://user:password@host:5432/database";
            StoreError::Fatal(format!(
                "SIGHTLINE_DATABASE_URL is not an address of PostgreSQL; it must have the form {example}"
            ))
        })?;
        let options = options.application_name("sightline").options([("statement_timeout", STATEMENT_LIMIT)]);
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let label = DatabaseLabel::postgres(&format!("{}:{}/{database}", options.get_host(), options.get_port()));
        let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = with_time_limit(&label, pool.connect_with(options)).await?;
        Ok(Self::on(Pools::Postgres(pool), label))
    }

    /// Opens a SQLite file, and creates a missing one. Creates no tables: see [`Self::migrate`].
    ///
    /// # Errors
    /// `Fatal` for another program's file, which stays unchanged. `Unavailable` when it is locked or cannot be written.
    pub async fn sqlite(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let label = DatabaseLabel::sqlite(&path.display().to_string());
        let plain = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(true);
        let plain = plain.busy_timeout(ACQUIRE_TIMEOUT);
        refuse_foreign_file(&plain, &label).await?;
        // Only after that check: the journal mode is written into the file.
        let options = plain.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        // Deleted names, hashes and face vectors are overwritten in the file, and not only marked as free.
        let options = options.pragma("secure_delete", "ON");
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
        // SQLite itself rolls back when the disk is full. The driver then fails to roll back and counts the transaction as open, so
        // no other can begin on this connection: replace it.
        let writer = pool(1).before_acquire(|connection, _| {
            let usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(usable) })
        });
        let writer = with_time_limit(&label, writer.connect_with(options.clone())).await?;
        let readers = with_time_limit(&label, pool(SQLITE_READERS).connect_with(options)).await?;
        Ok(Self::on(Pools::Sqlite { readers, writer }, label))
    }

    fn on(pools: Pools, label: DatabaseLabel) -> Self {
        Self {
            pools,
            label,
            subject_limit: DEFAULT_SUBJECT_LIMIT,
            consent_required: false,
            answers: None,
            #[cfg(test)]
            statements: super::plans::StatementLog::default(),
        }
    }

    /// The same database, to which this handle adds no subject beyond this number of a tenant.
    #[must_use]
    pub const fn with_subject_limit(mut self, subject_limit: u64) -> Self {
        self.subject_limit = subject_limit;
        self
    }

    /// The database for a start-up line, without secrets.
    pub fn describe(&self) -> String {
        self.label.to_string()
    }

    /// Succeeds when the database is reachable and has the tables.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.last_revocation().await.map(drop)
    }

    /// The same database, for a process in which consent is `required` or not.
    #[must_use]
    pub fn requiring_consent(self, required: bool) -> Self {
        Self { consent_required: required, ..self }
    }

    /// Closes all connections, after their running statements.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Postgres(pool) => pool.close().await,
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }

    /// Whether this is PostgreSQL, for features that SQLite lacks.
    pub(super) const fn is_postgres(&self) -> bool {
        matches!(self.pools, Pools::Postgres(_))
    }

    /// Moves SQLite's journal into the file and empties it, so that what was deleted or overwritten is in neither. A reader may hold it
    /// up; the log then says so, and the next call does it. PostgreSQL has its own rules for its journal.
    pub async fn empty_journal(&self) {
        let Pools::Sqlite { writer, .. } = &self.pools else { return };
        let checkpoint = sqlx::query(EMPTY_JOURNAL).fetch_one(writer);
        let emptied = with_time_limit(&self.label, async { checkpoint.await?.try_get::<i64, _>(0) }).await;
        match emptied {
            Ok(0) => {}
            Ok(_) => tracing::warn!(database = %self.label, "the journal is being read and still has what was deleted"),
            Err(error) => tracing::warn!(%error, "the journal could not be emptied and still has what was deleted"),
        }
    }

    /// Begins a transaction that may write.
    pub(super) async fn begin(&self) -> Result<Transaction, StoreError> {
        let inner = match &self.pools {
            Pools::Postgres(pool) => DriverTransaction::Postgres(with_time_limit(&self.label, pool.begin()).await?),
            // A deferred transaction that reads and then writes would fail when another one wrote in between.
            Pools::Sqlite { writer, .. } => {
                DriverTransaction::Sqlite(with_time_limit(&self.label, writer.begin_with("BEGIN IMMEDIATE")).await?)
            }
        };
        Ok(self.transaction(inner))
    }

    /// Begins a transaction whose statements all read one snapshot. It must not write.
    pub(super) async fn begin_snapshot(&self) -> Result<Transaction, StoreError> {
        let inner = match &self.pools {
            Pools::Postgres(pool) => {
                let begin = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
                DriverTransaction::Postgres(with_time_limit(&self.label, begin).await?)
            }
            Pools::Sqlite { readers, .. } => {
                DriverTransaction::Sqlite(with_time_limit(&self.label, readers.begin()).await?)
            }
        };
        Ok(self.transaction(inner))
    }

    fn transaction(&self, inner: DriverTransaction) -> Transaction {
        Transaction {
            inner,
            label: self.label.clone(),
            answers: self.answers_to_forget(),
            #[cfg(test)]
            statements: self.statements.clone(),
        }
    }

    /// Runs one writing statement in its own transaction. Returns the number of affected rows.
    pub(super) async fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        #[cfg(test)]
        self.statements.record(sql, &values);
        match &self.pools {
            Pools::Postgres(pool) => {
                let done = with_time_limit(&self.label, bind_postgres!(sqlx::query(sql), values).execute(pool)).await?;
                Ok(done.rows_affected())
            }
            Pools::Sqlite { writer, .. } => {
                let done = with_time_limit(&self.label, bind_sqlite!(sqlx::query(sql), values).execute(writer)).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Reads rows.
    pub(super) async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        #[cfg(test)]
        self.statements.record(sql, &values);
        match &self.pools {
            Pools::Postgres(pool) => {
                let rows =
                    with_time_limit(&self.label, bind_postgres!(sqlx::query(sql), values).fetch_all(pool)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Pools::Sqlite { readers, .. } => {
                let rows =
                    with_time_limit(&self.label, bind_sqlite!(sqlx::query(sql), values).fetch_all(readers)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Reads the first row.
    pub(super) async fn row(&self, sql: &'static str, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transaction_on_a_full_disk_does_not_block_later_ones() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
        let mut setup = database.begin().await.unwrap();
        setup.script("CREATE TABLE filled (content BLOB)").await.unwrap();
        setup.commit().await.unwrap();
        // The connection then fails like one on a full disk. The setting ends with it.
        let Pools::Sqlite { writer, .. } = &database.pools else { panic!("it is SQLite") };
        sqlx::raw_sql("PRAGMA max_page_count = 1").execute(writer).await.unwrap();
        let fill = "INSERT INTO filled VALUES (zeroblob(1000000))";
        let mut transaction = database.begin().await.unwrap();
        let full = transaction.execute(fill, Vec::new()).await.unwrap_err();
        assert!(matches!(full, StoreError::DiskFull(_)), "{full:?}");
        drop(transaction);
        let mut later = database.begin().await.unwrap();
        later.execute(fill, Vec::new()).await.unwrap();
        later.commit().await.unwrap();
    }
}
