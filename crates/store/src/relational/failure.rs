//! Maps the errors of both databases to [`StoreError`].

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::StoreError;

/// Time limit of one step; after it the database counts as unavailable.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// The database for messages, without secrets.
#[derive(Debug, Clone)]
pub(super) struct DatabaseLabel {
    shown: Arc<str>,
    setting: &'static str,
}

impl DatabaseLabel {
    pub(super) fn postgres(at: &str) -> Self {
        Self { shown: format!("PostgreSQL at {at}").into(), setting: "SIGHTLINE_DATABASE_URL" }
    }

    pub(super) fn sqlite(at: &str) -> Self {
        Self { shown: format!("SQLite at {at}").into(), setting: "SIGHTLINE_DATA_DIR" }
    }

    /// The setting with its address.
    pub(super) const fn setting(&self) -> &'static str {
        self.setting
    }

    fn unavailable(&self, cause: &dyn fmt::Display) -> StoreError {
        StoreError::Unavailable(format!("{self} cannot be used now: {cause}; see {}", self.setting))
    }

    fn disk_full(&self, cause: &dyn fmt::Display) -> StoreError {
        StoreError::DiskFull(format!("the disk of {self} is full ({cause}); free space on it"))
    }

    fn fatal(&self, cause: &dyn fmt::Display) -> StoreError {
        StoreError::Fatal(format!("{self} refused a statement: {cause}"))
    }
}

impl fmt::Display for DatabaseLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Runs one step with a time limit. Boxed: the futures of the driver are large, and a caller of several would hold each of them.
pub(super) fn with_time_limit<T>(
    label: &DatabaseLabel,
    step: impl Future<Output = Result<T, sqlx::Error>>,
) -> Pin<Box<impl Future<Output = Result<T, StoreError>>>> {
    Box::pin(async move {
        match tokio::time::timeout(STEP_TIMEOUT, step).await {
            Ok(done) => done.map_err(|error| failure(label, &error)),
            Err(_) => Err(label.unavailable(&format!("no response within {} s", STEP_TIMEOUT.as_secs()))),
        }
    })
}

/// Maps an error of the driver.
pub(super) fn failure(label: &DatabaseLabel, error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(refused) if is_lasting(refused.code().as_deref().unwrap_or_default()) => {
            label.fatal(refused)
        }
        sqlx::Error::Database(refused) if is_disk_full(refused.code().as_deref().unwrap_or_default()) => {
            label.disk_full(refused)
        }
        sqlx::Error::Database(refused) => label.unavailable(refused),
        sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. } => label.fatal(error),
        _ => label.unavailable(error),
    }
}

/// Whether the disk of the database is full: PostgreSQL's `disk_full`; SQLite's `SQLITE_FULL` and `SQLITE_IOERR_SHMSIZE`, which is
/// about the shared memory of the write-ahead log, a file beside the database.
fn is_disk_full(code: &str) -> bool {
    ["53100", "13", "4874"].contains(&code)
}

/// Whether a retry would fail too. Codes of PostgreSQL have five characters; the first two are the class: 22 data exception, 23
/// constraint violation, 42 syntax error or missing table. Codes of SQLite are numbers; the low byte is the primary code: 1 error in
/// the statement or missing table, 11 damaged file, 18 too big, 19 constraint violation, 20 type mismatch, 26 not a database.
fn is_lasting(code: &str) -> bool {
    if code.len() == 5 && !code.starts_with('0') {
        return ["22", "23", "42"].contains(&&code[..2]);
    }
    code.parse::<u32>().is_ok_and(|code| [1, 11, 18, 19, 20, 26].contains(&(code & 0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_failures_differ_from_passing_ones() {
        // A unique violation, a missing table, a wrong byte in a text; SQLite's constraint and missing table.
        for lasting in ["23505", "42P01", "22021", "2067", "1"] {
            assert!(is_lasting(lasting), "{lasting}");
        }
        // A deadlock, a shutdown, too many connections, a cancelled statement; SQLite's busy, full and failed reads.
        for passing in ["40P01", "57P01", "53300", "57014", "5", "261", "13", "266", ""] {
            assert!(!is_lasting(passing), "{passing}");
        }
    }

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        for full in ["53100", "13", "4874"] {
            assert!(is_disk_full(full) && !is_lasting(full), "{full}");
        }
        // SQLite's busy and failed reads, PostgreSQL's lack of memory and of connections.
        for other in ["5", "266", "10", "53200", "53300", ""] {
            assert!(!is_disk_full(other), "{other}");
        }
    }
}
