//! What a failure of either database means to a caller.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::StoreError;

/// How long one step may take before the database counts as away.
const STEP: Duration = Duration::from_secs(5);

/// Which database, for messages, without secrets.
#[derive(Debug, Clone)]
pub(super) struct Place {
    shown: Arc<str>,
    setting: &'static str,
}

impl Place {
    pub(super) fn postgres(at: &str) -> Self {
        Self { shown: format!("PostgreSQL at {at}").into(), setting: "SIGHTLINE_DATABASE_URL" }
    }

    pub(super) fn sqlite(at: &str) -> Self {
        Self { shown: format!("SQLite at {at}").into(), setting: "SIGHTLINE_DATA_DIR" }
    }

    /// The setting that names it.
    pub(super) const fn setting(&self) -> &'static str {
        self.setting
    }

    fn unavailable(&self, cause: &dyn fmt::Display) -> StoreError {
        StoreError::Unavailable(format!("{self} cannot be used now: {cause}; see {}", self.setting))
    }

    fn fatal(&self, cause: &dyn fmt::Display) -> StoreError {
        StoreError::Fatal(format!("{self} refuses: {cause}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// One step on the database, within a time that a caller can wait. In a box, because the driver's steps are large, and whoever
/// takes several of them would have room for each on its stack.
pub(super) fn within<T>(
    place: &Place,
    step: impl Future<Output = Result<T, sqlx::Error>>,
) -> Pin<Box<impl Future<Output = Result<T, StoreError>>>> {
    Box::pin(async move {
        match tokio::time::timeout(STEP, step).await {
            Ok(done) => done.map_err(|error| failure(place, &error)),
            Err(_) => Err(place.unavailable(&format!("no answer within {} s", STEP.as_secs()))),
        }
    })
}

/// What an error of the driver means.
pub(super) fn failure(place: &Place, error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(refused) if is_lasting(refused.code().as_deref().unwrap_or_default()) => {
            place.fatal(refused)
        }
        sqlx::Error::Database(refused) => place.unavailable(refused),
        sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. } => place.fatal(error),
        _ => place.unavailable(error),
    }
}

/// Whether the same statement would be refused again. PostgreSQL's codes have five characters, of which the first two name
/// the kind: 22 wrong data, 23 a broken constraint, 42 a wrong statement or missing table. SQLite's are numbers, of which the low
/// byte names the kind: 1 a wrong statement or missing table, 11 a damaged file, 18 too big, 19 a broken constraint, 20 a
/// wrong type, 26 no database.
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
    fn what_would_fail_again_is_told_from_what_may_pass() {
        // A unique violation, a missing table, a wrong byte in a text; SQLite's constraint and missing table.
        for lasting in ["23505", "42P01", "22021", "2067", "1"] {
            assert!(is_lasting(lasting), "{lasting}");
        }
        // A deadlock, a shutdown, too many connections, a cancelled statement; SQLite's busy, full and failed reads.
        for passing in ["40P01", "57P01", "53300", "57014", "5", "261", "13", "266", ""] {
            assert!(!is_lasting(passing), "{passing}");
        }
    }
}
