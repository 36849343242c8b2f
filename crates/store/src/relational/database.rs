//! The connections, and statements on them: outside of a transaction and within one.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

use super::failure::{Place, failure, within};
use super::migrations;
use super::values::{Row, Value, bind_postgres, bind_sqlite};
use crate::StoreError;

/// How long a free connection, or another process's lock, is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long PostgreSQL may work on one statement, in milliseconds: less than the caller waits, so that the server is rid of
/// it first.
const STATEMENT_LIMIT: &str = "4000";
/// Connections that read a SQLite file side by side; one more writes.
const SQLITE_READERS: u32 = 4;

/// The accounts' database. Cheap to clone.
#[derive(Clone)]
pub struct Relational {
    pools: Pools,
    pub(super) place: Place,
    #[cfg(test)]
    pub(super) seen: super::plans::Seen,
}

#[derive(Clone)]
enum Pools {
    Postgres(PgPool),
    /// SQLite takes one writer at a time: with a single connection for it they queue here, in their order, instead of
    /// trying again and again.
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
    },
}

impl Relational {
    /// Connects to PostgreSQL with at most so many connections. The tables are another matter: see [`Self::migrate`] and
    /// [`Self::check_schema`].
    ///
    /// # Errors
    /// `Fatal` when the address is none, `Unavailable` when nobody answers there.
    pub async fn postgres(url: &str, connections: u32) -> Result<Self, StoreError> {
        // The cause might quote the address, and with it the password.
        let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        let options = PgConnectOptions::from_str(url).ok().filter(|_| is_postgres).ok_or_else(|| {
            let example = "postgres://user:password@host:5432/database";
            StoreError::Fatal(format!("SIGHTLINE_DATABASE_URL is no address of PostgreSQL; it reads {example}"))
        })?;
        let options = options.application_name("sightline").options([("statement_timeout", STATEMENT_LIMIT)]);
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let place = Place::postgres(&format!("{}:{}/{database}", options.get_host(), options.get_port()));
        let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
        let pool = within(&place, pool.connect_with(options)).await?;
        Ok(Self::on(Pools::Postgres(pool), place))
    }

    /// Opens a SQLite file, making it where there is none. The tables are another matter: see [`Self::migrate`].
    ///
    /// # Errors
    /// `Fatal` when the file is another program's: it is left as it was. `Unavailable` when it is locked or cannot be
    /// written.
    pub async fn sqlite(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let place = Place::sqlite(&path.display().to_string());
        let plain = SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(true);
        let plain = plain.busy_timeout(PATIENCE);
        migrations::refuse_foreign_file(&plain, &place).await?;
        // Only now: the journal's mode is written into the file.
        let options = plain.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let pool = |connections| SqlitePoolOptions::new().max_connections(connections).acquire_timeout(PATIENCE);
        let writer = within(&place, pool(1).connect_with(options.clone())).await?;
        let readers = within(&place, pool(SQLITE_READERS).connect_with(options)).await?;
        Ok(Self::on(Pools::Sqlite { readers, writer }, place))
    }

    fn on(pools: Pools, place: Place) -> Self {
        Self {
            pools,
            place,
            #[cfg(test)]
            seen: super::plans::Seen::default(),
        }
    }

    /// What it is, for a start-up line, without secrets.
    pub fn describe(&self) -> String {
        self.place.to_string()
    }

    /// Succeeds when it can be reached and has our tables.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.last_revocation().await.map(drop)
    }

    /// Ends all connections; what is under way on them is waited for.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Postgres(pool) => pool.close().await,
            Pools::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }

    /// Begins a transaction that may write.
    pub(super) async fn begin(&self) -> Result<Transaction, StoreError> {
        let begun = match &self.pools {
            Pools::Postgres(pool) => Begun::Postgres(within(&self.place, pool.begin()).await?),
            // A transaction that reads first and then writes would fail where another wrote in between.
            Pools::Sqlite { writer, .. } => {
                Begun::Sqlite(within(&self.place, writer.begin_with("BEGIN IMMEDIATE")).await?)
            }
        };
        Ok(Transaction {
            begun,
            place: self.place.clone(),
            #[cfg(test)]
            seen: self.seen.clone(),
        })
    }

    /// Runs one statement that writes, in a transaction of its own; returns how many rows it concerned.
    pub(super) async fn execute(&self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        #[cfg(test)]
        self.seen.note(sql, &values);
        match &self.pools {
            Pools::Postgres(pool) => {
                let done = within(&self.place, bind_postgres!(sqlx::query(sql), values).execute(pool)).await?;
                Ok(done.rows_affected())
            }
            Pools::Sqlite { writer, .. } => {
                let done = within(&self.place, bind_sqlite!(sqlx::query(sql), values).execute(writer)).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Reads rows.
    pub(super) async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        #[cfg(test)]
        self.seen.note(sql, &values);
        match &self.pools {
            Pools::Postgres(pool) => {
                let rows = within(&self.place, bind_postgres!(sqlx::query(sql), values).fetch_all(pool)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Pools::Sqlite { readers, .. } => {
                let rows = within(&self.place, bind_sqlite!(sqlx::query(sql), values).fetch_all(readers)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Reads the one row that there can be.
    pub(super) async fn row(&self, sql: &'static str, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }
}

/// Statements that take effect together, at [`Self::commit`], or not at all.
pub(super) struct Transaction {
    begun: Begun,
    place: Place,
    #[cfg(test)]
    seen: super::plans::Seen,
}

enum Begun {
    Postgres(sqlx::Transaction<'static, Postgres>),
    Sqlite(sqlx::Transaction<'static, Sqlite>),
}

impl Transaction {
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self.begun {
            Begun::Postgres(begun) => within(&self.place, begun.commit()).await,
            Begun::Sqlite(begun) => within(&self.place, begun.commit()).await,
        }
    }

    /// Whether this is PostgreSQL, for what only one of the two has.
    pub(super) const fn is_postgres(&self) -> bool {
        matches!(self.begun, Begun::Postgres(_))
    }

    /// Runs several statements without arguments, for as long as they take.
    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), StoreError> {
        if self.is_postgres() {
            self.execute("SET LOCAL statement_timeout = 0", Vec::new()).await?;
        }
        let done = match &mut self.begun {
            Begun::Postgres(begun) => sqlx::raw_sql(sql).execute(&mut **begun).await.map(drop),
            Begun::Sqlite(begun) => sqlx::raw_sql(sql).execute(&mut **begun).await.map(drop),
        };
        done.map_err(|error| failure(&self.place, &error))
    }

    /// Runs one statement that writes; returns how many rows it concerned.
    pub(super) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        #[cfg(test)]
        self.seen.note(sql, &values);
        match &mut self.begun {
            Begun::Postgres(begun) => {
                let done = within(&self.place, bind_postgres!(sqlx::query(sql), values).execute(&mut **begun)).await?;
                Ok(done.rows_affected())
            }
            Begun::Sqlite(begun) => {
                let done = within(&self.place, bind_sqlite!(sqlx::query(sql), values).execute(&mut **begun)).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Reads rows.
    pub(super) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        #[cfg(test)]
        self.seen.note(sql, &values);
        match &mut self.begun {
            Begun::Postgres(begun) => {
                let query = bind_postgres!(sqlx::query(sql), values);
                let rows = within(&self.place, query.fetch_all(&mut **begun)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Begun::Sqlite(begun) => {
                let query = bind_sqlite!(sqlx::query(sql), values);
                let rows = within(&self.place, query.fetch_all(&mut **begun)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Reads the one row that there can be.
    pub(super) async fn row(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }
}

#[cfg(test)]
impl Transaction {
    /// How the database would go about a statement, step by step. PostgreSQL is told to read a whole table only where there is
    /// no other way: with few rows it would do so anyway.
    pub(super) async fn explain(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<String>, StoreError> {
        let rows = match &mut self.begun {
            Begun::Postgres(begun) => {
                let off = "SET LOCAL enable_seqscan = off";
                within(&self.place, sqlx::raw_sql(off).execute(&mut **begun)).await?;
                let query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN {sql}")));
                let rows = within(&self.place, bind_postgres!(query, values).fetch_all(&mut **begun)).await?;
                rows.into_iter().map(Row::Postgres).collect::<Vec<_>>()
            }
            Begun::Sqlite(begun) => {
                let query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
                let rows = within(&self.place, bind_sqlite!(query, values).fetch_all(&mut **begun)).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
        };
        let column = if self.is_postgres() { "QUERY PLAN" } else { "detail" };
        rows.iter().map(|row| row.get(column)).collect()
    }
}
