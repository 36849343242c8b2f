//! Notices that files in use are no longer at their paths: they were deleted, moved or replaced, or their file system was
//! unmounted.
//!
//! An open file stays readable and writable after its name is deleted, so no read or write fails. What is written then is lost
//! with the process. Only a look at the path shows the difference.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files and folders in use, each with the identity that it had at the start. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct FilesInUse(Arc<[FileInUse]>);

#[derive(Debug)]
struct FileInUse {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// A file in use is no longer at its path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} was deleted, moved or replaced, or its file system was unmounted, while it was in use", .0.display())]
pub struct FileLost(PathBuf);

impl FilesInUse {
    /// Remembers which files are at these paths now.
    ///
    /// # Errors
    /// If there is no file at one of them.
    pub fn at(paths: impl IntoIterator<Item = PathBuf>) -> std::io::Result<Self> {
        paths.into_iter().map(FileInUse::at).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Succeeds if every file is still at its path. It costs about a microsecond per file, because the kernel has the paths in memory.
    ///
    /// # Errors
    /// The first file that is not.
    pub fn check(&self) -> Result<(), FileLost> {
        self.0.iter().find(|file| !file.is_at_its_path()).map_or(Ok(()), |file| Err(FileLost(file.path.clone())))
    }
}

impl FileInUse {
    fn at(path: PathBuf) -> std::io::Result<Self> {
        let (device, inode) = identity(&path)?;
        Ok(Self { path, device, inode })
    }

    fn is_at_its_path(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == (self.device, self.inode))
    }
}

/// Device and inode of the file at a path.
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let named = |error: Error| Error::new(error.kind(), format!("{}: {error}", path.display()));
    let found = std::fs::metadata(path).map_err(named)?;
    // A file that was unlinked while its path was read.
    if found.nlink() == 0 {
        return Err(named(ErrorKind::NotFound.into()));
    }
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_a_replaced_and_a_moved_file_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let (kept, lost, other) = (folder.path().join("kept"), folder.path().join("lost"), folder.path().join("other"));
        let changes: [fn(&Path, &Path); 3] = [
            |lost, _| std::fs::remove_file(lost).unwrap(),
            |lost, other| std::fs::rename(other, lost).unwrap(),
            |lost, other| std::fs::rename(lost, other).unwrap(),
        ];
        for change in changes {
            for path in [&kept, &lost, &other] {
                std::fs::write(path, "old").unwrap();
            }
            let files = FilesInUse::at([kept.clone(), lost.clone()]).unwrap();
            std::fs::write(&lost, "new").unwrap();
            assert_eq!(files.check(), Ok(()), "a changed file is the same file");
            change(&lost, &other);
            assert_eq!(files.check(), Err(FileLost(lost.clone())));
        }
    }

    #[test]
    fn a_missing_file_is_an_error_with_its_path() {
        let error = FilesInUse::at([PathBuf::from("/nowhere/log")]).unwrap_err();
        assert!(error.to_string().contains("/nowhere/log"), "{error}");
        assert_eq!(FilesInUse::default().check(), Ok(()));
    }
}
