//! The folder of uploads: opening, reading and deleting files in it.
//!
//! In: a path of another program. Out: the bytes of the regular file that it names, or why it is refused.
//!
//! Guarantees: no path, however wrong, leads out of the folder, over a symbolic link or onto another file system: the kernel resolves
//! it so (`openat2`). A file is opened once, and checked and read by that handle. No more than the limit is read of it. Only the file
//! that was read is deleted: one that replaced it, or that somebody wrote to since, stays.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use contracts::{FrameArgs, UploadOutcome};
use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat, openat2, unlinkat};
use rustix::io::Errno;

use crate::config::Config;

/// Attempts to resolve a path while somebody renames its folders.
const ATTEMPTS: usize = 8;
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// A pipe without a writer and a terminal must not hold up the process.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);
/// A handle that neither reads nor follows a link.
const NAME_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The folder, opened once.
#[derive(Debug)]
pub struct UploadFolder {
    pub(super) root: OwnedFd,
    pub(super) path: PathBuf,
    max_bytes: usize,
}

/// A file that was read.
pub struct UploadedFile {
    /// Its bytes.
    pub bytes: Bytes,
    /// Which file it is.
    pub id: FileId,
    /// When it was written.
    pub written_at: Timestamp,
}

/// Which file a path named: inode, time of its last change, and size. Not the device, whose number changes when a volume is mounted again;
/// there is only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileId(String);

impl FileId {
    fn of(file: &Metadata) -> Self {
        Self(format!("{}-{}.{:09}-{}", file.ino(), file.mtime(), file.mtime_nsec(), file.len()))
    }

    /// The id as it was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub enum ReadError {
    /// It never will be. What has its name is deleted, if there is an id.
    Refused(UploadOutcome, Option<FileId>),
    /// The disk or the process failed; another attempt may succeed.
    Failed(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl UploadFolder {
    /// Opens the folder of the settings, if one is set.
    ///
    /// # Errors
    /// As [`Self::open`]. The message names the setting.
    pub fn configured(config: &Config, frames: &FrameArgs) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(path) = &config.uploads.faces_uploads_dir else { return Ok(None) };
        let folder = Self::open(path, frames.max_frame_bytes).context("SIGHTLINE_FACES_UPLOADS_DIR")?;
        Ok(Some(Arc::new(folder)))
    }

    /// Opens the folder, whose files may have this many bytes.
    ///
    /// # Errors
    /// When it is not there, or the kernel cannot resolve paths in it safely.
    pub fn open(path: &Path, max_bytes: usize) -> anyhow::Result<Self> {
        let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
        let root = rustix::fs::open(&path, FOLDER, Mode::empty());
        let root = root.map_err(|error| anyhow!("{} cannot be opened as a folder: {error}", path.display()))?;
        let folder = Self { root, path, max_bytes };
        match folder.open_beneath(Path::new("."), FOLDER) {
            Ok(_) => Ok(folder),
            // Old filters of system calls answer EPERM to those that they do not know.
            Err(error @ (Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::TOOBIG)) => Err(anyhow!(
                "this kernel, or its filter of system calls, has no openat2 ({error}), without which no path of another program is \
                 opened; it needs Linux 5.6 or later"
            )),
            Err(error) => Err(anyhow!("{} cannot be opened: {error}", folder.path.display())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the file with this path. Blocks.
    pub fn read(&self, path: &str) -> Result<UploadedFile, ReadError> {
        let path = self.relative(path);
        let file = match self.open_beneath(path, READ) {
            Ok(handle) => File::from(handle),
            Err(error) => return Err(self.refusal(path, error)),
        };
        let metadata = file.metadata()?;
        let id = FileId::of(&metadata);
        if !metadata.is_file() {
            return Err(ReadError::Refused(UploadOutcome::NotAFile, Some(id)));
        }
        // It may grow while it is read.
        let limit = self.max_bytes as u64;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(limit)).unwrap_or_default());
        if metadata.len() <= limit {
            (&file).take(limit + 1).read_to_end(&mut bytes)?;
        }
        if metadata.len() > limit || bytes.len() > self.max_bytes {
            return Err(ReadError::Refused(UploadOutcome::FileTooLarge, Some(id)));
        }
        let written_at = Timestamp::try_from(metadata.modified()?).map_err(io::Error::other)?;
        Ok(UploadedFile { bytes: bytes.into(), id, written_at })
    }

    /// Deletes the file with this path durably, if it is still this one. Returns whether it was. Blocks.
    ///
    /// # Errors
    /// When the disk fails, or the service may not delete files in the folder.
    pub fn delete(&self, path: &str, id: &FileId) -> io::Result<bool> {
        let Some((folder, name)) = self.parent(self.relative(path))? else { return Ok(false) };
        match name_of(&folder, name)? {
            Some(found) if !found.is_dir() && FileId::of(&found) == *id => {}
            _ => return Ok(false),
        }
        match unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) => rustix::fs::fsync(&folder)?,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// A path as another program writes it: relative to the folder, or absolute and in it.
    fn relative<'a>(&self, path: &'a str) -> &'a Path {
        let path = Path::new(path);
        path.strip_prefix(&self.path).unwrap_or(path)
    }

    fn open_beneath(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        for _ in 0..ATTEMPTS {
            match openat2(&self.root, path, flags, Mode::empty(), RESOLVE) {
                // A folder of the path was renamed meanwhile.
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
        Err(Errno::AGAIN)
    }

    /// The folder of a path, and the last name in it. `None` if there is none.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<Option<(OwnedFd, &'a OsStr)>> {
        let Some(name) = path.file_name() else { return Ok(None) };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match self.open_beneath(parent, FOLDER) {
            Ok(folder) => Ok(Some((folder, name))),
            Err(error) if refused(error).is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Why a path cannot be opened.
    fn refusal(&self, path: &Path, error: Errno) -> ReadError {
        let Some(outcome) = refused(error) else { return ReadError::Failed(error.into()) };
        // A link, a socket and a file that must not be read are deleted. Other refusals name nothing that this upload brought: `a.jpg/` is
        // no file, but `a.jpg` may be that of another one.
        let has_name =
            matches!(outcome, UploadOutcome::PathIsLink | UploadOutcome::NotAFile | UploadOutcome::FileUnreadable);
        let named = if has_name { self.parent(path) } else { Ok(None) };
        let named = named.and_then(|parent| match parent {
            Some((folder, name)) => name_of(&folder, name),
            None => Ok(None),
        });
        match named {
            Ok(found) => ReadError::Refused(outcome, found.as_ref().map(FileId::of)),
            Err(error) => ReadError::Failed(error),
        }
    }
}

/// What has this name in a folder.
fn name_of(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<Metadata>> {
    match openat(folder, name, NAME_ONLY, Mode::empty()) {
        Ok(handle) => File::from(handle).metadata().map(Some),
        Err(error) if refused(error).is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The refusal that follows from an error; `None` if it says nothing about the path.
fn refused(error: Errno) -> Option<UploadOutcome> {
    match error {
        Errno::XDEV => Some(UploadOutcome::PathOutside),
        Errno::LOOP => Some(UploadOutcome::PathIsLink),
        // Also a path that no file can have.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => Some(UploadOutcome::FileMissing),
        Errno::NXIO | Errno::NODEV | Errno::ISDIR => Some(UploadOutcome::NotAFile),
        Errno::ACCESS | Errno::PERM => Some(UploadOutcome::FileUnreadable),
        _ => None,
    }
}
