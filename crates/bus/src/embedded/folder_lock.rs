//! The lock of a log's folder: one process uses a folder at a time.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::unusable;
use crate::seam::BusError;

/// A folder that this process has locked, until the value is dropped or the process ends.
pub struct FolderLock {
    folder: PathBuf,
    _file: File,
}

impl FolderLock {
    /// Locks a folder, and creates it if it is missing. Writes the process id into the lock file, for the error message of another
    /// process.
    ///
    /// # Errors
    /// When another process has locked the folder, or it cannot be written.
    pub fn take(folder: &Path) -> Result<Self, BusError> {
        fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
        let path = file_of(folder);
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = opened.map_err(|error| unusable(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(in_use(folder, &mut file)),
            Err(fs::TryLockError::Error(error)) => return Err(unusable(&path, &error)),
        }
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "pid {}", std::process::id()));
        written.map_err(|error| unusable(&path, &error))?;
        Ok(Self { folder: folder.to_owned(), _file: file })
    }

    /// The locked folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lock file.
    pub fn file(&self) -> PathBuf {
        file_of(&self.folder)
    }
}

fn file_of(folder: &Path) -> PathBuf {
    folder.join("lock")
}

fn in_use(folder: &Path, file: &mut File) -> BusError {
    let mut holder = String::new();
    // Without the process id the message is still clear.
    let _ = file.read_to_string(&mut holder);
    let holder = if holder.is_empty() { "its id is unknown" } else { holder.trim() };
    BusError::Fatal(format!(
        "{} is in use by another process ({holder}); stop it, or set SIGHTLINE_DATA_DIR to another folder",
        folder.display()
    ))
}
