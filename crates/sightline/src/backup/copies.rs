//! Copies of the parts of a data folder that a running `up` may be changing.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail};
use bus::embedded::LogFiles;
use store::{StoreError, copy_sqlite};

use crate::data_dir::check_part;

/// From a data folder into a backup.
pub struct Copies<'a> {
    pub from: &'a Path,
    pub to: &'a Path,
}

impl Copies<'_> {
    /// Copies the log, positions first; returns the version of its format.
    pub fn log(&self, name: &str) -> anyhow::Result<i64> {
        let (from, to) = (self.from.join(name), self.to.join(name));
        let groups = LogFiles::groups_in(&from);
        check_part(self.from, &groups)?;
        fs::create_dir(&to)?;
        copy_sqlite(&groups, &LogFiles::groups_in(&to))?;
        // Listed after the positions were copied, so that the list has every message after them.
        let files = LogFiles::list(&from)?;
        for topic in &files.topics {
            for segment in topic {
                let relative = segment.strip_prefix(&from)?;
                let copy = to.join(relative);
                fs::create_dir_all(copy.parent().context("a segment is in the folder of its topic")?)?;
                match copy_sqlite(segment, &copy) {
                    Ok(()) => {}
                    // Retention dropped it, and all that are older.
                    Err(_) if !segment.exists() => {
                        remove_if_exists(&copy)?;
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(LogFiles::VERSION)
    }

    /// Copies a database; returns the oldest schema version whose programs can use it.
    pub fn database(&self, name: &str, copy: fn(&Path, &Path) -> Result<i64, StoreError>) -> anyhow::Result<i64> {
        check_part(self.from, &self.from.join(name))?;
        Ok(copy(&self.from.join(name), &self.to.join(name))?)
    }

    /// Copies a folder of files that are complete from the moment they have their name. The owner may delete files meanwhile.
    pub fn folder(&self, name: &str) -> anyhow::Result<()> {
        copy_folder(&self.from.join(name), &self.to.join(name))
    }
}

/// Refuses a copy of a folder to a place in itself, which would grow until the disk is full. The place need not exist.
pub fn check_outside(to: &Path, from: &Path) -> anyhow::Result<()> {
    let Ok(from) = from.canonicalize() else { return Ok(()) };
    let existing = to.ancestors().find_map(|folder| folder.canonicalize().ok());
    if existing.is_some_and(|folder| folder.starts_with(&from)) {
        bail!("{} is in {}, which is to be copied; name a folder elsewhere", to.display(), from.display());
    }
    Ok(())
}

/// Copies a folder with its folders. What disappears meanwhile is left out.
pub fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} cannot be created", to.display()))?;
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| format!("{} cannot be read", from.display()))?,
    };
    for entry in entries {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let copied = match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                copy_folder(&path, &copy)?;
                continue;
            }
            // The store's name of a blob that is still being written.
            Ok(_) if entry.file_name().to_string_lossy().contains('#') => continue,
            Ok(_) => fs::copy(&path, &copy).map(drop),
            Err(error) => Err(error),
        };
        match copied {
            Err(error) if error.kind() == ErrorKind::NotFound && !path.exists() => remove_if_exists(&copy)?,
            copied => copied.with_context(|| format!("{} cannot be copied", path.display()))?,
        }
    }
    Ok(())
}

fn remove_if_exists(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

/// Syncs every file and folder below a folder, and the folder itself, to disk.
pub fn sync_all(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            sync(&entry.path())?;
        }
    }
    sync(folder)
}

/// Syncs the folder of a path to disk, so that the name survives a power failure.
pub fn sync_parent(path: &Path) -> anyhow::Result<()> {
    path.parent().map_or(Ok(()), sync)
}

fn sync(path: &Path) -> anyhow::Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.with_context(|| format!("{} cannot be synced to disk", path.display()))
}
