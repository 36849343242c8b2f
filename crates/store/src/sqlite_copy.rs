//! Copies of SQLite files for a backup, also while another process writes them.
//!
//! A copy is one consistent state of the file: all pages are read under one read lock, which stops no writer. It is checked, is a
//! plain file without a write-ahead log, and is synced to disk.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::{StoreError, relational, sqlite};

/// Time limit of waiting for another process's lock, which it holds while it creates or seals the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Copies any SQLite file.
///
/// # Errors
/// When the file cannot be read or is damaged, or the copy cannot be written. The message names the file.
pub fn copy_sqlite(from: &Path, to: &Path) -> Result<(), StoreError> {
    copy(from, to).map(drop)
}

/// Copies a file of documents; returns the oldest schema version whose programs can use it.
///
/// # Errors
/// As [`copy_sqlite`].
pub fn copy_documents(from: &Path, to: &Path) -> Result<i64, StoreError> {
    let copy = copy(from, to)?;
    let version =
        copy.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|error| failed(from, &error))?;
    Ok(oldest_program(&copy, version, sqlite::COMPATIBLE_VERSIONS.into(), "SELECT version FROM compatible_from"))
}

/// Copies a file of accounts; returns the oldest schema version whose programs can use it.
///
/// # Errors
/// As [`copy_sqlite`].
pub fn copy_accounts(from: &Path, to: &Path) -> Result<i64, StoreError> {
    let copy = copy(from, to)?;
    let newest = "SELECT coalesce(max(version), 0) FROM sightline_schema";
    let version = copy.query_row(newest, [], |row| row.get(0)).map_err(|error| failed(from, &error))?;
    let recorded = "SELECT compatible_from FROM sightline_schema ORDER BY version DESC LIMIT 1";
    Ok(oldest_program(&copy, version, relational::COMPATIBLE_VERSIONS, recorded))
}

/// The oldest schema version whose programs can use a file of `version`. Programs from before `since` do not look at what is recorded,
/// and refuse every later file.
fn oldest_program(file: &Connection, version: i64, since: i64, recorded: &str) -> i64 {
    if version < since {
        return version;
    }
    file.query_row(recorded, [], |row| row.get(0)).map_or(version, |oldest: i64| oldest.max(since))
}

fn copy(from: &Path, to: &Path) -> Result<Connection, StoreError> {
    // Not read-only: the first connection after a kill recovers the write-ahead log.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(|error| failed(from, &error))?;
    let mut copy = Connection::open(to).map_err(|error| failed(to, &error))?;
    copy_pages(&source, &mut copy).map_err(|error| failed(from, &error))?;
    // The pages of a file with a write-ahead log say that there is one.
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(|error| failed(to, &error))?;
    let found: String =
        copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| failed(from, &error))?;
    if found != "ok" {
        return Err(StoreError::Fatal(format!("{} is damaged: {found}", from.display())));
    }
    Ok(copy)
}

fn copy_pages(source: &Connection, copy: &mut Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + LOCK_TIMEOUT;
    let backup = Backup::new(source, copy)?;
    loop {
        // All pages in one step: between two steps another process could write, and the copy would begin again.
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            _ if Instant::now() < deadline => std::thread::sleep(PAUSE),
            _ => {
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                    None,
                ));
            }
        }
    }
}

fn failed(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable(format!("{} cannot be copied: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_was_committed_and_nothing_of_an_open_transaction() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let mut writer = Connection::open(&from).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        writer
            .execute_batch("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (2); PRAGMA user_version = 7")
            .unwrap();
        let transaction = writer.transaction().unwrap();
        transaction.execute("INSERT INTO t VALUES (3)", []).unwrap();
        assert_eq!(copy_documents(&from, &to).unwrap(), 7);
        transaction.commit().unwrap();
        assert!(!folder.path().join("b.db-wal").exists());
        let rows = |path: &Path| {
            let connection = Connection::open(path).unwrap();
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((rows(&from), rows(&to)), (3, 2));
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let connection = Connection::open(&from).unwrap();
        let fill = "CREATE TABLE t (n TEXT); CREATE INDEX i ON t (n);
            WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2000)
            INSERT INTO t SELECT printf('%0100d', n) FROM numbers";
        connection.execute_batch(fill).unwrap();
        drop(connection);
        let mut bytes = std::fs::read(&from).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 4096].fill(0xff);
        std::fs::write(&from, bytes).unwrap();
        let error = copy_sqlite(&from, &to).unwrap_err().to_string();
        assert!(error.contains("a.db"), "{error}");
    }
}
