//! Photographs that `POST /v1/users/me/photo` writes into the folder of uploads.
//!
//! In: images of users. Out: files that survive a power failure, each named after the tenant of its user.
//!
//! Their number is bounded. A file whose message was not sent, because the process ended in between, is deleted when no message can name
//! it any more. All functions block.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use contracts::TenantId;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags, fsync, openat, unlinkat};
use rustix::io::Errno;
use store::{Erased, StoreError, TenantEraser};
use uuid::Uuid;

use super::folder::UploadFolder;

/// Photographs of one user that may wait.
pub const MOST_OF_USER: usize = 10;
/// Photographs of all users that may wait, and other files in the folder.
pub const MOST: usize = 10_000;
/// How the names of these files begin; the tenant and a UUID follow.
const PREFIX: &str = "photo-";
const NEW: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);

/// Why a photograph was not written.
#[derive(Debug)]
pub enum WriteError {
    /// [`MOST_OF_USER`] of this user wait.
    TooManyOfUser,
    /// `MOST` wait.
    TooMany,
    /// The disk refuses.
    Failed(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl UploadFolder {
    /// Writes a photograph durably. Returns its path in the folder.
    pub fn write(&self, tenant: &TenantId, bytes: &[u8]) -> Result<String, WriteError> {
        let (mut all, mut own) = (0, 0);
        for entry in std::fs::read_dir(&self.path)? {
            all += 1;
            own += usize::from(is_of(&entry?.path(), tenant));
            if all >= MOST {
                return Err(WriteError::TooMany);
            }
        }
        if own >= MOST_OF_USER {
            return Err(WriteError::TooManyOfUser);
        }
        let name = format!("{PREFIX}{tenant}-{}", Uuid::now_v7().simple());
        let file = openat(&self.root, &name, NEW, Mode::RUSR | Mode::WUSR).map_err(io::Error::from)?;
        if let Err(error) = self.fill(File::from(file), bytes) {
            // What is left is swept.
            drop(self.remove(&name));
            return Err(error.into());
        }
        Ok(name)
    }

    fn fill(&self, mut file: File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)?;
        file.sync_all()?;
        // Otherwise its name may be gone after a power failure.
        fsync(&self.root).map_err(io::Error::from)
    }

    /// Deletes a photograph that nobody reads.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match unlinkat(&self.root, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the photographs of a tenant. Returns their number.
    pub fn erase(&self, tenant: &TenantId) -> io::Result<u64> {
        self.remove_all(|path| Ok(is_of(path, tenant)))
    }

    /// Deletes the photographs of a tenant that were written before `time`. Returns their number.
    pub fn erase_before(&self, tenant: &TenantId, time: SystemTime) -> io::Result<u64> {
        self.remove_all(|path| Ok(is_of(path, tenant) && is_before(path, time)?))
    }

    /// Deletes photographs that were written before `time`. Returns their number.
    pub fn sweep(&self, time: SystemTime) -> io::Result<u64> {
        self.remove_all(|path| Ok(tenant_of(path).is_some() && is_before(path, time)?))
    }

    fn remove_all(&self, which: impl Fn(&Path) -> io::Result<bool>) -> io::Result<u64> {
        let mut removed = 0;
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            let is_meant = match which(&path) {
                // The consumer deleted it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                other => other?,
            };
            if is_meant && let Some(name) = path.file_name().and_then(|name| name.to_str()) {
                self.remove(name)?;
                removed += 1;
            }
        }
        fsync(&self.root)?;
        Ok(removed)
    }
}

/// The tenant in the name of a photograph; `None` for files of other programs.
fn tenant_of(path: &Path) -> Option<&str> {
    let (tenant, id) = path.file_name()?.to_str()?.strip_prefix(PREFIX)?.rsplit_once('-')?;
    Uuid::try_parse(id).is_ok().then_some(tenant)
}

fn is_before(path: &Path, time: SystemTime) -> io::Result<bool> {
    Ok(path.symlink_metadata()?.modified()? < time)
}

fn is_of(path: &Path, tenant: &TenantId) -> bool {
    tenant_of(path) == Some(tenant.as_str())
}

/// Erases the photographs of a deleted user that wait. Those that other programs wrote are deleted when their message is read.
pub struct PhotoEraser(pub Arc<UploadFolder>);

#[async_trait]
impl TenantEraser for PhotoEraser {
    async fn erase(&self, tenant: &TenantId) -> Result<Erased, StoreError> {
        let (folder, tenant) = (Arc::clone(&self.0), tenant.clone());
        let count = erased(move || folder.erase(&tenant)).await?;
        Ok(Erased { what: "photographs that wait for their verification", count })
    }
}

/// Erases the photographs of a tenant that wait since before `time`.
pub async fn erase_before(folder: &Arc<UploadFolder>, tenant: &TenantId, time: Timestamp) -> Result<u64, StoreError> {
    let (folder, tenant) = (Arc::clone(folder), tenant.clone());
    erased(move || folder.erase_before(&tenant, time.into())).await
}

async fn erased(erase: impl FnOnce() -> io::Result<u64> + Send + 'static) -> Result<u64, StoreError> {
    let erased = tokio::task::spawn_blocking(erase).await.map_err(|error| StoreError::Fatal(error.to_string()))?;
    erased.map_err(|error| StoreError::Unavailable(format!("photographs in the uploads: {error}")))
}
