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
    /// What the operator does about rights, tables or files that are not as they should be.
    repair: &'static str,
}

impl DatabaseLabel {
    pub(super) fn postgres(at: &str) -> Self {
        let repair = "run `sightline migrate`, and the script of this service's role in docker/postgres again";
        Self { shown: format!("PostgreSQL at {at}").into(), setting: "SIGHTLINE_DATABASE_URL", repair }
    }

    pub(super) fn sqlite(at: &str) -> Self {
        let repair = "the file is damaged or was changed by another program: restore it from a backup";
        Self { shown: format!("SQLite at {at}").into(), setting: "SIGHTLINE_DATA_DIR", repair }
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

    fn misconfigured(&self, cause: &dyn fmt::Display) -> StoreError {
        StoreError::Misconfigured(format!("{self} refused a statement: {cause}; {}", self.repair))
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
        sqlx::Error::Database(refused)
            if is_for_operator(refused.code().as_deref().unwrap_or_default(), refused.message()) =>
        {
            label.misconfigured(refused)
        }
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

/// Whether the database is not as it should be, so that a retry succeeds after the operator acted. Statements are fixed texts, so none of
/// these follows from what is to be stored. Codes of PostgreSQL have five characters; the first two are the class: 42 missing right, table
/// or column, 3F missing schema. Codes of SQLite are numbers; the low byte is the primary code: 11 damaged file, 26 not a database, and 1 is
/// a missing table or column only with this message.
fn is_for_operator(code: &str, message: &str) -> bool {
    if is_postgres(code) {
        return ["42", "3F"].contains(&&code[..2]);
    }
    code.parse::<u32>().is_ok_and(|code| match code & 0xff {
        1 => message.starts_with("no such ") || message.contains(" has no column named "),
        primary => [11, 26].contains(&primary),
    })
}

/// Whether a retry would fail too. Of PostgreSQL the classes 22 data exception and 23 constraint violation; of SQLite 1 error in the
/// statement, 18 too big, 19 constraint violation, 20 type mismatch.
fn is_lasting(code: &str) -> bool {
    if is_postgres(code) {
        return ["22", "23"].contains(&&code[..2]);
    }
    code.parse::<u32>().is_ok_and(|code| [1, 18, 19, 20].contains(&(code & 0xff)))
}

/// Extended codes of SQLite have at most four digits.
fn is_postgres(code: &str) -> bool {
    code.len() == 5 && code.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_failures_differ_from_passing_ones() {
        // A unique violation, a wrong byte in a text; SQLite's constraint and error in a statement.
        for lasting in ["23505", "22021", "2067", "1"] {
            assert!(is_lasting(lasting) && !is_for_operator(lasting, ""), "{lasting}");
        }
        // A deadlock, a shutdown, too many connections, a cancelled statement; SQLite's busy, full and failed reads.
        for passing in ["40P01", "57P01", "53300", "57014", "5", "261", "13", "266", ""] {
            assert!(!is_lasting(passing) && !is_for_operator(passing, "no such host"), "{passing}");
        }
    }

    #[test]
    fn what_the_operator_must_mend_is_told_from_what_is_stored() {
        // A missing right, table, column and schema; SQLite's missing table and column, a damaged file, no database.
        let postgres = ["42501", "42P01", "42703", "3F000"].map(|code| (code, ""));
        let sqlite = [
            ("1", "no such table: user_faces"),
            ("1", "no such column: file"),
            ("1", "table faces has no column named file"),
            ("11", ""),
            ("267", ""),
            ("26", ""),
        ];
        for (code, message) in postgres.into_iter().chain(sqlite) {
            assert!(is_for_operator(code, message), "{code}");
        }
        assert!(!is_for_operator("1", "malformed JSON"), "it follows from a value");
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
