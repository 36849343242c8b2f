//! Migrates a file to this version, and refuses files of other programs.
//!
//! The version is in the file's header (`user_version`) and changes in the same transaction as the tables. A killed process
//! leaves the previous version, and the next start repeats the step. Several processes may open a file at once: the first
//! migrates it, the others wait for the lock.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::errors::{foreign_file, store_error};
use crate::schema_step::Effect::{self, Adds};
use crate::schema_step::compatible_from;
use crate::{Migrated, StoreError};

/// `application_id` of the file: "SLdc", documents of Sightline.
const APPLICATION_ID: i32 = 0x534c_6463;

/// A step to `version`. A released step never changes, because databases that have it do not run it again.
struct Migration {
    version: i32,
    effect: Effect,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, effect: Adds, sql: include_str!("../../migrations/documents/0001_documents.sql") },
    Migration { version: 2, effect: Adds, sql: include_str!("../../migrations/documents/0002_attributes.sql") },
    Migration {
        version: 3,
        effect: Adds,
        sql: include_str!("../../migrations/documents/0003_compatible_versions.sql"),
    },
    Migration { version: 4, effect: Adds, sql: include_str!("../../migrations/documents/0004_streams.sql") },
    Migration { version: 5, effect: Adds, sql: include_str!("../../migrations/documents/0005_stream_retention.sql") },
    Migration { version: 6, effect: Adds, sql: include_str!("../../migrations/documents/0006_subjects.sql") },
    Migration { version: 7, effect: Adds, sql: include_str!("../../migrations/documents/0007_watchlists.sql") },
];
/// The version from which on a file records which programs can use it.
pub(crate) const COMPATIBLE_VERSIONS: i32 = 3;

/// The version that this program reads and writes.
pub(super) const VERSION: i32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// What each step does.
#[cfg(test)]
pub(crate) fn effects() -> Vec<Effect> {
    MIGRATIONS.iter().map(|migration| migration.effect).collect()
}

/// Runs the steps that a file lacks.
///
/// # Errors
/// `Fatal`, with nothing changed, if the file belongs to another program or a later version that changed what this one uses.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<Migrated, StoreError> {
    let failed = |error| store_error(path, &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let version = version(&transaction, path)?;
    if version > VERSION && !is_compatible(&transaction) {
        return Err(StoreError::Fatal(format!(
            "the document database {} has schema version {version}, this program knows {VERSION}; run the version that \
             wrote it or choose another folder with SIGHTLINE_DATA_DIR (nothing was changed)",
            path.display()
        )));
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > version) {
        apply(&transaction, migration).map_err(failed)?;
    }
    transaction.commit().map_err(failed)?;
    Ok(Migrated { from: i64::from(version), to: i64::from(version.max(VERSION)) })
}

/// Whether the file of a later version says that this program can use it.
fn is_compatible(transaction: &Transaction<'_>) -> bool {
    let compatible_from = transaction.query_row("SELECT version FROM compatible_from", [], |row| row.get::<_, i32>(0));
    compatible_from.is_ok_and(|version| version <= VERSION)
}

/// The version of a file; 0 if it is empty.
fn version(transaction: &Transaction<'_>, path: &Path) -> Result<i32, StoreError> {
    let failed = |error| store_error(path, &error);
    let number = |pragma: &str| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let owner = number("application_id").map_err(failed)?;
    let version = number("user_version").map_err(failed)?;
    if owner == APPLICATION_ID && version > 0 {
        return Ok(version);
    }
    let objects: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if owner != 0 || version != 0 || objects != 0 {
        return Err(foreign_file(path));
    }
    Ok(0)
}

fn apply(transaction: &Transaction<'_>, migration: &Migration) -> Result<(), rusqlite::Error> {
    transaction.execute_batch(migration.sql)?;
    if migration.version >= COMPATIBLE_VERSIONS {
        let steps = MIGRATIONS.iter().filter(|step| step.version <= migration.version);
        let oldest = compatible_from(steps.map(|step| step.effect));
        transaction.execute("UPDATE compatible_from SET version = ?", [oldest])?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", migration.version)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// Creates a file of an older version.
    fn file_at(path: &Path, version: i32) {
        let mut connection = Connection::open(path).unwrap();
        let transaction = connection.transaction().unwrap();
        for migration in MIGRATIONS.iter().filter(|migration| migration.version <= version) {
            apply(&transaction, migration).unwrap();
        }
        transaction.commit().unwrap();
    }

    fn tables(path: &Path) -> Vec<(String, Option<String>)> {
        let connection = Connection::open(path).unwrap();
        let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn version_of(path: &Path) -> i32 {
        Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn every_older_version_is_migrated() {
        let folder = tempfile::TempDir::new().unwrap();
        let fresh = folder.path().join("fresh.db");
        migrate(&mut Connection::open(&fresh).unwrap(), &fresh).unwrap();
        for version in 1..=VERSION {
            let path = folder.path().join(format!("{version}.db"));
            file_at(&path, version);
            let migrated = migrate(&mut Connection::open(&path).unwrap(), &path).unwrap();
            assert_eq!(migrated, Migrated { from: i64::from(version), to: i64::from(VERSION) });
            assert_eq!((version_of(&path), tables(&path)), (VERSION, tables(&fresh)), "from version {version}");
        }
    }

    #[test]
    fn an_interrupted_migration_is_repeated() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("documents.db");
        file_at(&path, 1);
        let mut connection = Connection::open(&path).unwrap();
        let transaction = connection.transaction().unwrap();
        apply(&transaction, &MIGRATIONS[1]).unwrap();
        // The process ends before it commits.
        drop(transaction);
        assert_eq!(version_of(&path), 1);
        migrate(&mut connection, &path).unwrap();
        assert_eq!(version_of(&path), VERSION);
    }

    #[test]
    fn concurrent_migrations_succeed() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("documents.db");
        file_at(&path, 1);
        let open = || {
            let mut connection = Connection::open(&path).unwrap();
            connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
            migrate(&mut connection, &path)
        };
        std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            for start in starts {
                start.join().unwrap().unwrap();
            }
        });
        assert_eq!(version_of(&path), VERSION);
    }

    #[test]
    fn released_migrations_never_change() {
        let sums: Vec<String> = MIGRATIONS
            .iter()
            .map(|migration| Sha256::digest(migration.sql).iter().take(6).map(|byte| format!("{byte:02x}")).collect())
            .collect();
        assert_eq!(
            sums,
            [
                "77c81ba03b8a",
                "5af379c1f148",
                "e9692bd5ef0a",
                "b50a8c7e4808",
                "59be9699c005",
                "1b4f89b471aa",
                "f569b93f4f69",
            ]
        );
        assert!(MIGRATIONS.iter().zip(1..).all(|(migration, number)| migration.version == number));
    }
}
