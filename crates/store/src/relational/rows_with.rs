//! Searches all tables of PostgreSQL for texts. A SQLite file is searched as a file ([`crate::sqlite_rows_with`]).

use super::database::Relational;
use super::transaction::Transaction;
use super::values::{Value, values};
use crate::StoreError;
use crate::rows_with::{Owner, TableRows, count_statement, table_rows, tables};

impl Relational {
    /// The rows of every table of PostgreSQL that have one of the texts; those of other tenants than the owner are told apart.
    ///
    /// # Errors
    /// `Fatal` for a SQLite file. Otherwise when a table cannot be read.
    pub async fn postgres_rows_with(
        &self,
        texts: &[String],
        owner: Option<Owner<'_>>,
    ) -> Result<Vec<TableRows>, StoreError> {
        let mut snapshot = self.begin_snapshot().await?;
        if !snapshot.is_postgres() {
            return Err(StoreError::Fatal(format!("{} is not PostgreSQL", self.describe())));
        }
        // It reads whole tables.
        snapshot.execute("SET LOCAL statement_timeout = 0", values![]).await?;
        let mut found = Vec::new();
        for (table, columns) in tables(snapshot.columns().await?) {
            let has = |column: &str, text: usize| format!("position(${text} in CAST({column} AS TEXT)) > 0");
            let owner = Owner::of_table(owner, &columns);
            let sql = count_statement(&table, &columns, texts.len(), owner, has);
            let values = texts.iter().cloned().chain(Owner::values(owner));
            let rows = snapshot.rows_unlimited(sql, values.map(Value::from).collect()).await?;
            let Some(row) = rows.first() else { continue };
            let counts = (0..columns.len() + 2).map(|number| row.get(&format!("n{number}")));
            found.extend(table_rows(table, columns, &counts.collect::<Result<Vec<i64>, StoreError>>()?));
        }
        Ok(found)
    }
}

impl Transaction {
    /// The tables of PostgreSQL with their columns, but for those of bytes: hashes, keys and vectors have no ids in them.
    async fn columns(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        let sql = "SELECT c.table_name::TEXT AS in_table, c.column_name::TEXT AS in_column \
                   FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name) \
                   WHERE table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.data_type <> 'bytea' \
                   ORDER BY c.table_name, c.ordinal_position";
        let rows = self.rows(sql, values![]).await?;
        rows.iter().map(|row| Ok((row.get("in_table")?, row.get("in_column")?))).collect()
    }
}
