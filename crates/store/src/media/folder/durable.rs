//! Files that survive a power cut.

use std::fs::{self, File};
use std::io::{ErrorKind, Result, Write};
use std::path::Path;

/// Writes a new file and syncs it to disk. Its name is durable after [`sync_folder`].
pub(super) fn write(file: &Path, content: &[u8]) -> Result<()> {
    let mut opened = File::create_new(file)?;
    let written = opened.write_all(content).and_then(|()| opened.sync_all());
    written.inspect_err(|_| discard(file))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)?.sync_all()
}

/// Deletes a file that may be missing, durably.
pub(super) fn remove(file: &Path) -> Result<()> {
    missing_is_fine(fs::remove_file(file))?;
    file.parent().map_or(Ok(()), |folder| missing_is_fine(sync_folder(folder)))
}

/// Deletes what a failed step has written. Where that fails too, the sweep does it.
pub(super) fn discard(file: &Path) {
    drop(fs::remove_file(file));
}

/// Counts a missing file as a success.
pub(super) fn missing_is_fine(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
