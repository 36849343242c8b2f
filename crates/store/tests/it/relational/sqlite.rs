//! The suite on SQLite, and tests of SQLite alone.

use std::collections::BTreeSet;
use std::path::Path;

use gallery::suite::{face, key, subject};
use store::relational::{NewSubject, SubjectWriteOutcome, VectorWriteOutcome};
use store::{Relational, StoreError, sqlite_rows_with};
use tempfile::TempDir;

use super::suite::faces::subject_with_id;
use super::suite::{for_each_guarantee, uploads};
use super::{TwoStores, add, now};

pub async fn two_on(folder: &TempDir) -> TwoStores {
    let path = folder.path().join("accounts.sqlite");
    let (one, other) = (Relational::sqlite(&path).await.unwrap(), Relational::sqlite(&path).await.unwrap());
    one.migrate().await.unwrap();
    TwoStores { one, other }
}

macro_rules! on_sqlite {
    ($($module:ident::$guarantee:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $guarantee() {
                let folder = TempDir::new().unwrap();
                super::suite::$module::$guarantee(&two_on(&folder).await).await;
            }
        )*
    };
}
for_each_guarantee!(on_sqlite);

async fn refusal(path: &Path) -> StoreError {
    Relational::sqlite(path).await.err().expect("the file is refused")
}

#[tokio::test]
async fn another_programs_database_is_refused_unchanged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("accounts.sqlite");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let before = std::fs::read(&path).unwrap();

    let refused = refusal(&path).await;

    assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
    assert!(refused.to_string().contains("not an account database of Sightline"), "{refused}");
    assert!(refused.to_string().contains("SIGHTLINE_DATA_DIR"), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_unchanged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("accounts.sqlite");
    let text = "not a database, but longer than the header of one; ".repeat(100);
    std::fs::write(&path, &text).unwrap();

    let refused = refusal(&path).await;

    assert!(matches!(refused, StoreError::Fatal(_)), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_later_versions_database_is_refused_with_both_versions() {
    let folder = TempDir::new().unwrap();
    let TwoStores { one, .. } = two_on(&folder).await;
    let file = rusqlite::Connection::open(folder.path().join("accounts.sqlite")).unwrap();
    let current: u32 = file.query_row("SELECT max(version) FROM sightline_schema", [], |row| row.get(0)).unwrap();
    let later = current + 1;
    file.execute("INSERT INTO sightline_schema VALUES (?1, 'later', 'x', 0, NULL)", [later]).unwrap();

    for compatible_from in [None, Some(later)] {
        file.execute("UPDATE sightline_schema SET compatible_from = ?1 WHERE name = 'later'", [compatible_from])
            .unwrap();
        for refused in [one.migrate().await.map(drop), one.check_can_migrate().await, one.check_schema().await] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(&format!("schema version {later}, this program knows {current}")), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_later_versions_database_that_only_adds_is_used() {
    let folder = TempDir::new().unwrap();
    let TwoStores { one, .. } = two_on(&folder).await;
    let file = rusqlite::Connection::open(folder.path().join("accounts.sqlite")).unwrap();
    let later = "ALTER TABLE users ADD COLUMN later TEXT;
        INSERT INTO sightline_schema SELECT version + 1, 'later', 'x', 0, compatible_from FROM sightline_schema
        ORDER BY version DESC LIMIT 1";
    file.execute_batch(later).unwrap();

    one.check_can_migrate().await.unwrap();
    one.check_schema().await.unwrap();
    assert!(!one.migrate().await.unwrap().is_changed());
    add(&one, "ann").await;
}

#[tokio::test]
async fn every_row_of_a_user_is_deleted_with_the_user() {
    let folder = TempDir::new().unwrap();
    drop(two_on(&folder).await);
    let file = rusqlite::Connection::open(folder.path().join("accounts.sqlite")).unwrap();
    let tables = |sql: &str| -> BTreeSet<String> {
        let mut statement = file.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let of_a_user = tables(
        "SELECT t.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND c.name = 'user_id'",
    );
    let deleted_with_it = tables(
        "SELECT t.name FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) k
         WHERE k.\"from\" = 'user_id' AND k.\"table\" = 'users' AND k.on_delete = 'CASCADE'",
    );
    // The audit log outlives its users.
    let left: Vec<_> = of_a_user.difference(&deleted_with_it).collect();
    assert_eq!(left, ["audit_log"]);
    assert!(deleted_with_it.len() >= 6, "{deleted_with_it:?}");
}

#[tokio::test]
async fn a_missing_folder_is_refused_with_the_setting() {
    let folder = TempDir::new().unwrap();
    let refused = refusal(&folder.path().join("missing/accounts.sqlite")).await.to_string();
    assert!(refused.contains("SIGHTLINE_DATA_DIR"), "{refused}");
}

/// The journal is as much a file as the database is.
#[tokio::test]
async fn what_is_deleted_of_a_face_is_in_no_file() {
    let folder = TempDir::new().unwrap();
    let TwoStores { one, other } = two_on(&folder).await;
    let files_with = |bytes: &[u8]| -> Vec<String> {
        let files = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        let with =
            files.filter(|file| std::fs::read(file.path()).unwrap().windows(bytes.len()).any(|some| some == bytes));
        with.map(|file| file.file_name().into_string().unwrap()).collect()
    };
    let (key, name) = (key("a"), "Ann of the journal");
    let new = NewSubject { name: Some(name.to_owned()), ..subject_with_id(subject(1)) };
    assert_eq!(one.add_subject(&key.tenant, None, &new, now()).await.unwrap(), SubjectWriteOutcome::Stored);
    let faces = [1, 2].map(|number| face(number, 1));
    assert_eq!(one.put_vectors(&key, &faces, now()).await.unwrap(), VectorWriteOutcome::Stored);
    let [first, second] = faces.map(|face| face.embedding.to_bytes());
    assert_eq!(other.vectors_of_subject(&key, subject(1)).await.unwrap().len(), 2);
    for bytes in [name.as_bytes(), &first, &second] {
        assert!(!files_with(bytes).is_empty(), "the search for files finds what is there");
    }

    assert!(one.remove_enrolled(&key.tenant, subject(1), face(1, 1).id, now()).await.unwrap());
    assert_eq!(files_with(&first), Vec::<String>::new());
    assert!(!files_with(&second).is_empty(), "the other face stays");
    one.delete_subject(&key.tenant, subject(1), now()).await.unwrap().unwrap();
    for bytes in [name.as_bytes(), &second] {
        assert_eq!(files_with(bytes), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_deleted_subject_is_only_among_the_former_ones() {
    let folder = TempDir::new().unwrap();
    let two = two_on(&folder).await;
    let tables = async |id| {
        let found = sqlite_rows_with(&folder.path().join("accounts.sqlite"), &[id], None).unwrap();
        found.into_iter().map(|table| table.table).collect::<Vec<_>>()
    };
    uploads::a_deleted_subject_is_only_among_the_former_ones(&two.one, tables).await;
}
