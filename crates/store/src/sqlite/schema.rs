//! The tables, and whether a file is ours to put them in.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use crate::StoreError;
use crate::query::Collection;

/// "SLdc" in the file's header: documents of Sightline.
const APPLICATION_ID: i32 = 0x534c_6463;
/// Version of the tables below.
const VERSION: i32 = 1;

const RULES: &str = "
CREATE TABLE rules (
    id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    doc TEXT NOT NULL
) STRICT;
CREATE INDEX rules_by_tenant ON rules (tenant, name, id);
";

/// What each table of documents has beside the columns that all of them have.
const fn own_columns(collection: Collection) -> &'static str {
    match collection {
        Collection::Results => "ce_id TEXT NOT NULL",
        Collection::Detections => {
            "label TEXT NOT NULL, confidence REAL NOT NULL, category TEXT, category_folded TEXT, make TEXT, model TEXT"
        }
        Collection::Alerts => "label TEXT NOT NULL, rule TEXT NOT NULL",
    }
}

fn tables() -> String {
    let mut sql = RULES.to_owned();
    for collection in Collection::ALL {
        let (name, own) = (collection.name(), own_columns(collection));
        sql.push_str(&format!(
            "CREATE TABLE {name} (
                id TEXT PRIMARY KEY NOT NULL,
                tenant TEXT NOT NULL,
                stream TEXT,
                at INTEGER NOT NULL,
                expires_at INTEGER NOT NULL,
                {own},
                doc TEXT NOT NULL
            ) STRICT;
            CREATE INDEX {name}_by_time ON {name} (at, id);
            CREATE INDEX {name}_by_tenant ON {name} (tenant, at, id);
            CREATE INDEX {name}_by_stream ON {name} (stream, at, id) WHERE stream IS NOT NULL;
            CREATE INDEX {name}_by_expiry ON {name} (expires_at);
            "
        ));
    }
    sql
}

/// Makes the tables in an empty file; accepts a file of ours and this version; refuses every other one untouched.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| failure(path, &error);
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let number = |pragma: &str| transaction.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let owner = number("application_id").map_err(failed)?;
    let version = number("user_version").map_err(failed)?;
    let objects: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if owner == APPLICATION_ID && version == VERSION {
        return Ok(());
    }
    if owner == APPLICATION_ID {
        return Err(StoreError::Fatal(format!(
            "the document database {} has schema version {version}, this program knows {VERSION}; run the version that \
             wrote it or choose another folder with SIGHTLINE_DATA_DIR (nothing was changed)",
            path.display()
        )));
    }
    if owner != 0 || version != 0 || objects != 0 {
        return Err(not_ours(path));
    }
    transaction.execute_batch(&tables()).map_err(failed)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn not_ours(path: &Path) -> StoreError {
    StoreError::Fatal(format!(
        "{} is not a document database of Sightline; choose another folder with SIGHTLINE_DATA_DIR (nothing was changed)",
        path.display()
    ))
}

/// What a failure of SQLite means to a caller.
pub(super) fn failure(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path_shown = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Unavailable(format!(
            "the document database {path_shown} is locked by another process; stop it or choose another folder with \
             SIGHTLINE_DATA_DIR"
        )),
        Some(ErrorCode::NotADatabase) => not_ours(path),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Fatal(format!(
            "the document database {path_shown} is damaged ({error}); restore it from a copy or remove it"
        )),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            StoreError::Unavailable(format!(
                "the document database {path_shown} cannot be opened for writing ({error}); see SIGHTLINE_DATA_DIR"
            ))
        }
        Some(ErrorCode::DiskFull) => {
            StoreError::Unavailable(format!("the disk of the document database {path_shown} is full"))
        }
        Some(ErrorCode::TooBig) => {
            StoreError::Fatal(format!("a document is too large for the document database {path_shown}"))
        }
        _ => StoreError::Unavailable(format!("the document database {path_shown} failed: {error}")),
    }
}
