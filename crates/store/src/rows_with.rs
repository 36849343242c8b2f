//! Searches a whole database for texts, such as the id of a person who was deleted.
//!
//! In: texts, and whose rows are meant. Out: for each table, how many rows have one of them, in which columns, and how many rows of other
//! tenants do: anybody may write a text that is somebody else's id. Every table and every column is read, so a
//! table that is added later is searched too, and a large database takes minutes. Nothing is changed.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::StoreError;

/// Time limit of waiting for another process's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose rows are searched for; those of others are told apart.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The column that has the tenant of a row. The rows of a table without it have none.
    pub column: &'a str,
    /// What this column has wherever it has a tenant; empty where it has nothing else.
    pub mark: &'a str,
}

impl<'a> Owner<'a> {
    /// The owner of rows with the column `tenant`.
    pub const fn of_rows(tenant: &'a str) -> Self {
        Self { tenant, column: "tenant", mark: "" }
    }

    /// The owner, if the table has its column.
    pub(crate) fn of_table(owner: Option<Self>, columns: &[String]) -> Option<Self> {
        owner.filter(|owner| columns.iter().any(|column| column == owner.column))
    }

    /// What a statement has after the texts.
    pub(crate) fn values(owner: Option<Self>) -> impl Iterator<Item = String> {
        owner.into_iter().flat_map(|owner| [owner.tenant.to_owned(), owner.mark.to_owned()])
    }
}

/// The rows of a table that have one of the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// Name of the table or collection.
    pub table: String,
    /// Number of its rows or documents that have one, but for those of other tenants.
    pub rows: u64,
    /// Number of those of other tenants.
    pub others: u64,
    /// The columns that have one, with their numbers of rows; none for a collection.
    pub columns: Vec<(String, u64)>,
}

/// The rows of every table of a SQLite file that have one of the texts, also while another process writes the file. Blocking.
///
/// # Errors
/// When the file cannot be read, or stays locked. The message names the file.
pub fn sqlite_rows_with(file: &Path, texts: &[String], owner: Option<Owner<'_>>) -> Result<Vec<TableRows>, StoreError> {
    search(file, texts, owner)
        .map_err(|error| StoreError::Unavailable(format!("{} cannot be searched: {error}", file.display())))
}

fn search(file: &Path, texts: &[String], owner: Option<Owner<'_>>) -> rusqlite::Result<Vec<TableRows>> {
    // Not read-only: the first connection after a kill recovers the write-ahead log.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(LOCK_TIMEOUT)?;
    let mut catalogue = connection.prepare(
        "SELECT tables.name, columns.name FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
         WHERE tables.type = 'table' ORDER BY tables.name, columns.cid",
    )?;
    let names = catalogue.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let names = names.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    let mut found = Vec::new();
    for (table, columns) in tables(names) {
        // As bytes, because a text may be in a column of any type.
        let has = |column: &str, text: usize| format!("instr(CAST({column} AS BLOB), CAST(?{text} AS BLOB)) > 0");
        let owner = Owner::of_table(owner, &columns);
        let sql = count_statement(&table, &columns, texts.len(), owner, has);
        let values = texts.iter().cloned().chain(Owner::values(owner));
        let counts = connection.query_row(&sql, params_from_iter(values), |row| {
            (0..columns.len() + 2).map(|index| row.get(index)).collect::<rusqlite::Result<Vec<i64>>>()
        })?;
        found.extend(table_rows(table, columns, &counts));
    }
    Ok(found)
}

/// The tables with their columns, from pairs of both in the order of the tables.
pub(crate) fn tables(names: Vec<(String, String)>) -> Vec<(String, Vec<String>)> {
    let mut tables: Vec<(String, Vec<String>)> = Vec::new();
    for (table, column) in names {
        match tables.last_mut() {
            Some((last, columns)) if *last == table => columns.push(column),
            _ => tables.push((table, vec![column])),
        }
    }
    tables
}

/// A statement that counts the rows of a table with one of the texts: as `n0` those of others, as `n1` the owner's, as `n2` and so on these in
/// each column. `has` is the condition that a column has the text with this number, from 1; after the texts come the tenant and the mark.
pub(crate) fn count_statement(
    table: &str,
    columns: &[String],
    texts: usize,
    owner: Option<Owner<'_>>,
    has: impl Fn(&str, usize) -> String,
) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let in_column = |column: &String| {
        let column = quoted(column);
        (1..=texts).map(|text| has(&column, text)).collect::<Vec<_>>().join(" OR ")
    };
    let each: Vec<String> = columns.iter().map(in_column).collect();
    let any = each.join(" OR ");
    let is_others = owner.map_or_else(
        || "FALSE".to_owned(),
        |owner| {
            let column = quoted(owner.column);
            format!("COALESCE({} AND NOT {}, FALSE)", has(&column, texts + 2), has(&column, texts + 1))
        },
    );
    let others = format!("count(*) FILTER (WHERE ({any}) AND {is_others}) AS n0");
    let count = |(number, condition): (usize, &String)| {
        format!("count(*) FILTER (WHERE ({condition}) AND NOT {is_others}) AS n{}", number + 1)
    };
    let own = std::iter::once(&any).chain(&each).enumerate().map(count);
    let counts: Vec<String> = std::iter::once(others).chain(own).collect();
    format!("SELECT {} FROM {}", counts.join(", "), quoted(table))
}

/// What was counted by [`count_statement`]; `None` if no row has a text.
pub(crate) fn table_rows(table: String, columns: Vec<String>, counts: &[i64]) -> Option<TableRows> {
    let (others, own) = counts.split_first()?;
    let (rows, each) = own.split_first().filter(|(rows, _)| **rows + *others > 0)?;
    let with_text = columns.into_iter().zip(each).filter(|(_, rows)| **rows > 0);
    let columns = with_text.map(|(column, rows)| (column, rows.unsigned_abs())).collect();
    Some(TableRows { table, rows: rows.unsigned_abs(), others: others.unsigned_abs(), columns })
}

/// Whether bytes have one of the texts.
pub fn has_any(bytes: &[u8], texts: &[String]) -> bool {
    let has = |text: &String| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    texts.iter().any(|text| text.is_empty() || has(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_columns_of_every_type() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let connection = Connection::open(&file).unwrap();
        let fill = "CREATE TABLE one (id TEXT, doc TEXT, bytes BLOB); CREATE TABLE \"o\"\"ther\" (n INTEGER, t TEXT);
            INSERT INTO one VALUES ('x', '{\"a\": \"wanted\"}', x'00ff'), ('wanted', NULL, CAST('--wanted' AS BLOB)), ('y', '', NULL);
            INSERT INTO \"o\"\"ther\" VALUES (1, 'also'), (2, NULL); CREATE TABLE none (t TEXT);";
        connection.execute_batch(fill).unwrap();
        let columns = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 1)).collect();
        let one = TableRows { table: "one".to_owned(), rows: 2, others: 0, columns: columns(&["id", "doc", "bytes"]) };
        let other = TableRows { table: "o\"ther".to_owned(), rows: 1, others: 0, columns: columns(&["t"]) };
        assert_eq!(sqlite_rows_with(&file, &["wanted".to_owned()], None).unwrap(), std::slice::from_ref(&one));
        assert_eq!(sqlite_rows_with(&file, &["wanted".to_owned(), "also".to_owned()], None).unwrap(), [other, one]);
        assert!(sqlite_rows_with(&file, &["missing".to_owned()], None).unwrap().is_empty());
    }

    #[test]
    fn rows_of_other_tenants_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let connection = Connection::open(&file).unwrap();
        let fill = "CREATE TABLE docs (tenant TEXT, doc TEXT); CREATE TABLE only (tenant TEXT, doc TEXT); CREATE TABLE plain (doc TEXT);
            CREATE TABLE message (headers BLOB, value BLOB);
            INSERT INTO docs VALUES ('ann', 'wanted'), ('ben', 'wanted'), ('cid', 'wanted'), ('ben', ''), (NULL, 'wanted');
            INSERT INTO only VALUES ('ben', 'wanted'); INSERT INTO plain VALUES ('wanted');
            INSERT INTO message VALUES (CAST('ce_tenant-ann' AS BLOB), CAST('wanted' AS BLOB)),
                (CAST('ce_tenant-ben' AS BLOB), CAST('wanted' AS BLOB)), (x'', CAST('wanted' AS BLOB));";
        connection.execute_batch(fill).unwrap();
        let found = |owner| {
            let tables = sqlite_rows_with(&file, &["wanted".to_owned()], owner).unwrap();
            tables.into_iter().map(|table| (table.table, table.rows, table.others)).collect::<Vec<_>>()
        };
        let expected = |all: &[(&str, u64, u64)]| {
            all.iter().map(|(table, rows, others)| ((*table).to_owned(), *rows, *others)).collect::<Vec<_>>()
        };
        let all = expected(&[("docs", 4, 0), ("message", 3, 0), ("only", 1, 0), ("plain", 1, 0)]);
        assert_eq!(found(None), all);
        let of_ann = expected(&[("docs", 2, 2), ("message", 3, 0), ("only", 0, 1), ("plain", 1, 0)]);
        assert_eq!(found(Some(Owner::of_rows("ann"))), of_ann);
        let headers = Owner { tenant: "ann", column: "headers", mark: "ce_tenant" };
        let of_ann = expected(&[("docs", 4, 0), ("message", 2, 1), ("only", 1, 0), ("plain", 1, 0)]);
        assert_eq!(found(Some(headers)), of_ann);
    }

    #[test]
    fn bytes_have_a_text_at_their_end() {
        let texts = ["ab".to_owned(), "wanted".to_owned()];
        assert!(has_any(b"\xff\0wanted", &texts) && !has_any(b"wante", &texts) && !has_any(b"", &texts));
    }
}
