//! Searches a whole database for texts, such as the id of a person who was deleted.
//!
//! In: texts. Out: for each table, how many rows have one of them, and in which columns. Every table and every column is read, so a
//! table that is added later is searched too, and a large database takes minutes. Nothing is changed.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params_from_iter};

use crate::StoreError;

/// Time limit of waiting for another process's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// The rows of a table that have one of the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// Name of the table or collection.
    pub table: String,
    /// Number of its rows or documents that have one.
    pub rows: u64,
    /// The columns that have one, with their numbers of rows; none for a collection.
    pub columns: Vec<(String, u64)>,
}

/// The rows of every table of a SQLite file that have one of the texts, also while another process writes the file. Blocking.
///
/// # Errors
/// When the file cannot be read, or stays locked. The message names the file.
pub fn sqlite_rows_with(file: &Path, texts: &[String]) -> Result<Vec<TableRows>, StoreError> {
    search(file, texts)
        .map_err(|error| StoreError::Unavailable(format!("{} cannot be searched: {error}", file.display())))
}

fn search(file: &Path, texts: &[String]) -> rusqlite::Result<Vec<TableRows>> {
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
        let sql = count_statement(&table, &columns, texts.len(), has);
        let counts = connection.query_row(&sql, params_from_iter(texts), |row| {
            (0..=columns.len()).map(|index| row.get(index)).collect::<rusqlite::Result<Vec<i64>>>()
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

/// A statement that counts the rows of a table with one of the texts: as `n0` in any column, as `n1` and so on in each one. `has` is the
/// condition that a column has the text with this number, from 1.
pub(crate) fn count_statement(
    table: &str,
    columns: &[String],
    texts: usize,
    has: impl Fn(&str, usize) -> String,
) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let in_column = |column: &String| {
        let column = quoted(column);
        (1..=texts).map(|text| has(&column, text)).collect::<Vec<_>>().join(" OR ")
    };
    let each: Vec<String> = columns.iter().map(in_column).collect();
    let any = each.join(" OR ");
    let count = |(number, condition): (usize, &String)| format!("count(*) FILTER (WHERE {condition}) AS n{number}");
    let counts: Vec<String> = std::iter::once(&any).chain(&each).enumerate().map(count).collect();
    format!("SELECT {} FROM {}", counts.join(", "), quoted(table))
}

/// What was counted by [`count_statement`]; `None` if no row has a text.
pub(crate) fn table_rows(table: String, columns: Vec<String>, counts: &[i64]) -> Option<TableRows> {
    let (rows, each) = counts.split_first().filter(|(rows, _)| **rows > 0)?;
    let with_text = columns.into_iter().zip(each).filter(|(_, rows)| **rows > 0);
    let columns = with_text.map(|(column, rows)| (column, rows.unsigned_abs())).collect();
    Some(TableRows { table, rows: rows.unsigned_abs(), columns })
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
        let one = TableRows { table: "one".to_owned(), rows: 2, columns: columns(&["id", "doc", "bytes"]) };
        let other = TableRows { table: "o\"ther".to_owned(), rows: 1, columns: columns(&["t"]) };
        assert_eq!(sqlite_rows_with(&file, &["wanted".to_owned()]).unwrap(), std::slice::from_ref(&one));
        assert_eq!(sqlite_rows_with(&file, &["wanted".to_owned(), "also".to_owned()]).unwrap(), [other, one]);
        assert!(sqlite_rows_with(&file, &["missing".to_owned()]).unwrap().is_empty());
    }

    #[test]
    fn bytes_have_a_text_at_their_end() {
        let texts = ["ab".to_owned(), "wanted".to_owned()];
        assert!(has_any(b"\xff\0wanted", &texts) && !has_any(b"wante", &texts) && !has_any(b"", &texts));
    }
}
