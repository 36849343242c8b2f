//! Statements within a transaction.

use sqlx::{Postgres, Sqlite};

use super::answers::AnswersToForget;
use super::failure::{DatabaseLabel, failure, with_time_limit};
use super::values::{Row, Value, bind_postgres, bind_sqlite};
use crate::StoreError;

/// A transaction. Dropping it without [`Self::commit`] rolls it back.
pub(super) struct Transaction {
    pub(super) inner: DriverTransaction,
    pub(super) label: DatabaseLabel,
    pub(super) answers: AnswersToForget,
    #[cfg(test)]
    pub(super) statements: super::plans::StatementLog,
}

pub(super) enum DriverTransaction {
    Postgres(sqlx::Transaction<'static, Postgres>),
    Sqlite(sqlx::Transaction<'static, Sqlite>),
}

impl Transaction {
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        let committed = match self.inner {
            DriverTransaction::Postgres(inner) => with_time_limit(&self.label, inner.commit()).await,
            DriverTransaction::Sqlite(inner) => with_time_limit(&self.label, inner.commit()).await,
        };
        // Also after an error: the database may have committed before the time limit.
        self.answers.forget().await;
        committed
    }

    /// Whether this is PostgreSQL, for features that SQLite lacks.
    pub(super) const fn is_postgres(&self) -> bool {
        matches!(self.inner, DriverTransaction::Postgres(_))
    }

    /// Runs several statements without arguments and without a time limit.
    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), StoreError> {
        if self.is_postgres() {
            self.execute("SET LOCAL statement_timeout = 0", Vec::new()).await?;
        }
        let done = match &mut self.inner {
            DriverTransaction::Postgres(inner) => sqlx::raw_sql(sql).execute(&mut **inner).await.map(drop),
            DriverTransaction::Sqlite(inner) => sqlx::raw_sql(sql).execute(&mut **inner).await.map(drop),
        };
        done.map_err(|error| failure(&self.label, &error))
    }

    /// Runs one writing statement. Returns the number of affected rows.
    pub(super) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        #[cfg(test)]
        self.statements.record(sql, &values);
        match &mut self.inner {
            DriverTransaction::Postgres(inner) => {
                let done = with_time_limit(&self.label, bind_postgres!(sqlx::query(sql), values).execute(&mut **inner))
                    .await?;
                Ok(done.rows_affected())
            }
            DriverTransaction::Sqlite(inner) => {
                let done =
                    with_time_limit(&self.label, bind_sqlite!(sqlx::query(sql), values).execute(&mut **inner)).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// Reads rows.
    pub(super) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        #[cfg(test)]
        self.statements.record(sql, &values);
        match &mut self.inner {
            DriverTransaction::Postgres(inner) => {
                let query = bind_postgres!(sqlx::query(sql), values);
                let rows = with_time_limit(&self.label, query.fetch_all(&mut **inner)).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            DriverTransaction::Sqlite(inner) => {
                let query = bind_sqlite!(sqlx::query(sql), values);
                let rows = with_time_limit(&self.label, query.fetch_all(&mut **inner)).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Reads rows without a time limit, by a statement with names of the catalogue in it.
    pub(super) async fn rows_unlimited(&mut self, sql: String, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let sql = sqlx::AssertSqlSafe(sql);
        let rows: Result<Vec<Row>, sqlx::Error> = match &mut self.inner {
            DriverTransaction::Postgres(inner) => {
                let rows = bind_postgres!(sqlx::query(sql), values).fetch_all(&mut **inner).await;
                rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
            DriverTransaction::Sqlite(inner) => {
                let rows = bind_sqlite!(sqlx::query(sql), values).fetch_all(&mut **inner).await;
                rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
        };
        rows.map_err(|error| failure(&self.label, &error))
    }

    /// Reads the first row.
    pub(super) async fn row(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }
}

#[cfg(test)]
impl Transaction {
    /// The query plan of a statement, step by step. In PostgreSQL, table scans are disabled where
    /// an index can be used; otherwise it would scan tables with few rows.
    pub(super) async fn explain(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<String>, StoreError> {
        let rows = match &mut self.inner {
            DriverTransaction::Postgres(inner) => {
                let off = "SET LOCAL enable_seqscan = off";
                with_time_limit(&self.label, sqlx::raw_sql(off).execute(&mut **inner)).await?;
                let query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN {sql}")));
                let rows = with_time_limit(&self.label, bind_postgres!(query, values).fetch_all(&mut **inner)).await?;
                rows.into_iter().map(Row::Postgres).collect::<Vec<_>>()
            }
            DriverTransaction::Sqlite(inner) => {
                let query = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
                let rows = with_time_limit(&self.label, bind_sqlite!(query, values).fetch_all(&mut **inner)).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
        };
        let column = if self.is_postgres() { "QUERY PLAN" } else { "detail" };
        rows.iter().map(|row| row.get(column)).collect()
    }
}

/// A statement that a connection has prepared.
#[cfg(test)]
pub(super) struct Prepared {
    /// How it would run now.
    pub(super) plan: String,
    /// Executions with a plan for any arguments.
    pub(super) generic_plans: i64,
    /// Executions with a plan for its arguments.
    pub(super) custom_plans: i64,
}

#[cfg(test)]
impl Transaction {
    /// The prepared statement of PostgreSQL with this part, and its plan for these arguments.
    pub(super) async fn prepared(&mut self, part: &str, arguments: &str) -> Prepared {
        let DriverTransaction::Postgres(inner) = &mut self.inner else { panic!("it is SQLite") };
        let sql = "SELECT name, generic_plans, custom_plans FROM pg_prepared_statements WHERE strpos(statement, $1) > 0 \
                   AND strpos(statement, 'pg_prepared_statements') = 0";
        let row = Row::Postgres(sqlx::query(sql).bind(part).fetch_one(&mut **inner).await.unwrap());
        let name: String = row.get("name").unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN EXECUTE {name} ({arguments})"));
        let plan = sqlx::raw_sql(explain).fetch_all(&mut **inner).await.unwrap();
        let plan: Vec<String> = plan.into_iter().map(|step| Row::Postgres(step).get("QUERY PLAN").unwrap()).collect();
        let (generic_plans, custom_plans) = (row.get("generic_plans").unwrap(), row.get("custom_plans").unwrap());
        Prepared { plan: plan.join("\n"), generic_plans, custom_plans }
    }
}
