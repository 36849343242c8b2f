//! Refusing a database that another program uses, before anything in it is changed.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row as _};

use super::failure::{DatabaseLabel, with_time_limit};
use super::transaction::Transaction;
use super::values::{unreadable, values};
use crate::StoreError;

/// `0x534c6163`, "SLac" in the file's header: accounts of Sightline.
const APPLICATION_ID: i64 = 0x534c_6163;

impl Transaction {
    /// Refuses a database with tables of another program. Tables of extensions are ignored.
    pub(super) async fn refuse_foreign(&mut self, label: &DatabaseLabel) -> Result<(), StoreError> {
        let theirs = if self.is_postgres() {
            "SELECT relname::TEXT AS theirs FROM pg_class c WHERE relnamespace = current_schema()::regnamespace
             AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
             AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') LIMIT 1"
        } else {
            "SELECT name AS theirs FROM sqlite_schema LIMIT 1"
        };
        match self.row(theirs, values![]).await? {
            Some(row) => Err(not_ours(label, Some(&row.get::<String>("theirs")?))),
            None => Ok(()),
        }
    }
}

fn not_ours(label: &DatabaseLabel, theirs: Option<&str>) -> StoreError {
    let such = theirs.map(|name| format!(" (it has {name})")).unwrap_or_default();
    StoreError::Fatal(format!(
        "{label} is not empty and not an account database of Sightline{such}; choose another with {} (nothing was changed)",
        label.setting()
    ))
}

/// Refuses a file with tables of another program.
pub(super) async fn refuse_foreign_file(file: &SqliteConnectOptions, label: &DatabaseLabel) -> Result<(), StoreError> {
    let mut connection = with_time_limit(label, file.connect()).await?;
    let sql = "SELECT (SELECT application_id FROM pragma_application_id) AS owner, (SELECT count(*) FROM sqlite_schema) AS objects";
    let row = with_time_limit(label, sqlx::query(sql).fetch_one(&mut connection)).await;
    let row = row.map_err(|error| match error {
        StoreError::Fatal(_) | StoreError::Misconfigured(_) => not_ours(label, None),
        passing => passing,
    })?;
    let (owner, objects): (i64, i64) = (
        row.try_get("owner").map_err(|error| unreadable("owner", &error))?,
        row.try_get("objects").map_err(|error| unreadable("number of tables", &error))?,
    );
    if owner == APPLICATION_ID || (owner == 0 && objects == 0) {
        return Ok(());
    }
    Err(not_ours(label, None))
}
