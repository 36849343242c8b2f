//! The contract suite on SQLite, and tests specific to a file.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use store::{Migrated, ResultStore, SqliteDocuments, StoreError};
use tempfile::TempDir;

use crate::suite::for_each_contract_test;

fn open(folder: &TempDir) -> SqliteDocuments {
    SqliteDocuments::open(folder.path().join("documents.db")).unwrap()
}

macro_rules! on_sqlite {
    ($($module:ident::$test:ident,)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                let folder = TempDir::new().unwrap();
                crate::suite::$module::$test(&open(&folder)).await;
            }
        )*
    };
}
for_each_contract_test!(on_sqlite);

fn refusal(path: &Path) -> StoreError {
    SqliteDocuments::open(path).err().expect("the file is refused")
}

#[test]
fn another_programs_database_is_refused_unchanged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("documents.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let before = std::fs::read(&path).unwrap();

    let refused = refusal(&path);

    assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
    assert!(refused.to_string().contains("not a document database of Sightline"), "{refused}");
    assert!(refused.to_string().contains("SIGHTLINE_DATA_DIR"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_refused_unchanged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("documents.db");
    let text = "not a database, but longer than the header of one; ".repeat(100);
    std::fs::write(&path, &text).unwrap();

    let refused = refusal(&path);

    assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn another_versions_database_is_refused_naming_both_versions() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("documents.db");
    drop(SqliteDocuments::open(&path).unwrap());
    let file = rusqlite::Connection::open(&path).unwrap();
    let current: u32 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let later = current + 1;
    file.pragma_update(None, "user_version", later).unwrap();
    file.execute("DELETE FROM compatible_from", []).unwrap();

    let refused = refusal(&path).to_string();

    assert!(refused.contains(&format!("schema version {later}, this program knows {current}")), "{refused}");
}

#[tokio::test]
async fn a_later_versions_database_that_only_adds_is_used() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("documents.db");
    drop(SqliteDocuments::open(&path).unwrap());
    let file = rusqlite::Connection::open(&path).unwrap();
    let current: u32 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    file.execute_batch("ALTER TABLE detections ADD COLUMN later TEXT; CREATE TABLE later (a TEXT)").unwrap();
    file.pragma_update(None, "user_version", current + 1).unwrap();

    let later = i64::from(current + 1);
    assert_eq!(SqliteDocuments::open(&path).unwrap().migrated(), Migrated { from: later, to: later });
    file.execute("UPDATE compatible_from SET version = ?", [later]).unwrap();
    let refused = refusal(&path).to_string();
    assert!(refused.contains(&format!("schema version {later}, this program knows {current}")), "{refused}");
}

#[test]
fn a_locked_database_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("documents.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE t (a)").unwrap();

    let refused = refusal(&path);

    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(refused.to_string().contains("locked by another process"), "{refused}");
    assert_eq!(refused.to_string().lines().count(), 1);
}

#[test]
fn a_missing_folder_error_names_the_setting() {
    let folder = TempDir::new().unwrap();
    let refused = refusal(&folder.path().join("missing/documents.db")).to_string();
    assert!(refused.contains("SIGHTLINE_DATA_DIR"), "{refused}");
}

#[tokio::test]
async fn documents_survive_reopening() {
    let folder = TempDir::new().unwrap();
    let put = crate::fixture::result("2026-01-02T03:04:05Z", vec![crate::fixture::face(0.5)]);
    open(&folder).put(std::slice::from_ref(&put)).await.unwrap();

    let frame = open(&folder).frame(&store::TenantScope::All, put.result.data.frame_id).await.unwrap();

    assert_eq!(frame[0].result, put.result);
}

/// Overwrites all pages but the first with bytes that are no page.
fn damage(path: &Path) {
    let other = rusqlite::Connection::open(path).unwrap();
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let page: u32 = other.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    let page = u64::from(page);
    let length = std::fs::metadata(path).unwrap().len();
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(page)).unwrap();
    file.write_all(&vec![0xff; (length - page) as usize]).unwrap();
}

#[tokio::test]
async fn damage_while_open_makes_the_store_unavailable() {
    let folder = TempDir::new().unwrap();
    let store = open(&folder);
    store.check().await.unwrap();
    damage(&folder.path().join("documents.db"));

    let put = crate::fixture::result("2026-01-02T03:04:05Z", vec![crate::fixture::face(0.5)]);
    let written = store.put(std::slice::from_ref(&put)).await.unwrap_err();
    let read = store.frame(&store::TenantScope::All, put.result.data.frame_id).await.unwrap_err();

    for error in [written, read, store.check().await.unwrap_err()] {
        assert!(matches!(&error, StoreError::Unavailable(message) if message.contains("is damaged")), "{error:?}");
    }
}
