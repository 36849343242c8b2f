//! Maps SQLite's errors to [`StoreError`]: transient or permanent, with the setting to change.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::StoreError;

/// The error for the caller. The message names the file and its setting.
pub(super) fn store_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path_shown = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Unavailable(format!(
            "the document database {path_shown} is locked by another process; stop it or choose another folder with \
             SIGHTLINE_DATA_DIR"
        )),
        Some(ErrorCode::NotADatabase) => foreign_file(path),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Fatal(format!(
            "the document database {path_shown} is damaged ({error}); restore it from a backup or remove it"
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

/// The error for a file of another program.
pub(super) fn foreign_file(path: &Path) -> StoreError {
    StoreError::Fatal(format!(
        "{} is not a document database of Sightline; choose another folder with SIGHTLINE_DATA_DIR (nothing was changed)",
        path.display()
    ))
}
