//! Maps SQLite's errors to [`StoreError`]: transient or permanent, with the setting to change.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::{ErrorCode, ffi};

use crate::StoreError;

/// The file of an open store, and whether it was found damaged.
///
/// A damaged file is a fault of the store and not of the document: callers must keep their documents until the operator has
/// restored the file, which needs a restart.
pub(super) struct OpenFile {
    path: PathBuf,
    damage: OnceLock<String>,
}

impl OpenFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, damage: OnceLock::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The error for the caller of a read or write. Remembers damage.
    pub(super) fn error(&self, error: &rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                let message = self.damage.get_or_init(|| {
                    format!(
                        "the document database {} is damaged ({error}); stop Sightline, restore the file from a backup or \
                         remove it, and start again",
                        self.path.display()
                    )
                });
                StoreError::Unavailable(message.clone())
            }
            _ => store_error(&self.path, error),
        }
    }

    /// # Errors
    /// `Unavailable` if a read or write found damage. Other parts of the file may still be readable and writable.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.damage.get().map_or(Ok(()), |message| Err(StoreError::Unavailable(message.clone())))
    }
}

/// The error while a file is opened. The message names the file and its setting.
pub(super) fn store_error(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path_shown = path.display();
    match error.sqlite_error_code() {
        _ if is_disk_full(error) => {
            StoreError::DiskFull(format!("the disk of the document database {path_shown} is full; free space on it"))
        }
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
        Some(ErrorCode::TooBig) => {
            StoreError::Fatal(format!("a document is too large for the document database {path_shown}"))
        }
        _ => StoreError::Unavailable(format!("the document database {path_shown} failed: {error}")),
    }
}

/// Whether the disk is full: also for the shared memory of the write-ahead log, which is a file beside the database.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull) || extended == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

/// The error for a file of another program.
pub(super) fn foreign_file(path: &Path) -> StoreError {
    StoreError::Fatal(format!(
        "{} is not a document database of Sightline; choose another folder with SIGHTLINE_DATA_DIR (nothing was changed)",
        path.display()
    ))
}
