//! A media store in a folder.
//!
//! - `objects/<key>`: the objects.
//! - `unfinished/<upload>/`: an upload: its key in `key`, its parts in `part-<number>-<tag>`, tails in `tail-<writer>`.
//! - `unfinished/<id>.new`: a file that is being written. It gets its name when it is synced to disk, so no reader sees half of it.
//!
//! The ids of uploads and of files that are being written are UUIDv7, so their names tell when they began.

mod durable;
mod read;
mod unfinished;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Error, ErrorKind, Result as IoResult};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use url::Url;
use uuid::Uuid;

use super::{Media, MediaFacts, MediaKey, MediaStream, MultipartId, PartFacts, check_number};
use crate::{FilesInUse, StoreError};

/// A media store in a folder.
pub(super) struct MediaFolder(Arc<Folder>);

/// The folder and what is in it.
struct Folder {
    root: PathBuf,
    /// A write would create a missing folder again, with nothing in it.
    in_use: FilesInUse,
}

/// Why a step failed.
enum Failed {
    Io(Error),
    Known(StoreError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Known(error)
    }
}

impl MediaFolder {
    /// Opens a folder, and creates it if it does not exist.
    pub(super) fn open(root: PathBuf) -> Result<Self, StoreError> {
        if !root.is_absolute() {
            return Err(super::invalid_url());
        }
        let shown = root.display().to_string();
        let opened = Folder::open(root).map_err(|error| {
            StoreError::Unavailable(format!(
                "the media folder {shown} cannot be used ({error}); see SIGHTLINE_MEDIA_URL"
            ))
        })?;
        Ok(Self(Arc::new(opened)))
    }

    /// Runs a step on a thread that may block, after a look whether the folder is still there.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        step: impl FnOnce(&Folder) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            folder.in_use.check().map_err(|lost| StoreError::Unavailable(format!("{lost}; restore it and restart")))?;
            step(&folder).map_err(|failed| folder.told(doing, failed))
        });
        done.await.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("{doing} was interrupted: {error}"))))
    }
}

impl Folder {
    fn open(root: PathBuf) -> IoResult<Self> {
        let (objects, unfinished) = (root.join("objects"), root.join("unfinished"));
        for folder in [&root, &objects, &unfinished] {
            fs::create_dir_all(folder)?;
        }
        durable::sync_folder(&root)?;
        let in_use = FilesInUse::at([root.clone(), objects, unfinished])?;
        Ok(Self { root, in_use })
    }

    fn object(&self, key: &MediaKey) -> PathBuf {
        self.root.join("objects").join(key.to_string())
    }

    fn unfinished(&self) -> PathBuf {
        self.root.join("unfinished")
    }

    /// A name for a file that is being written.
    fn new_file(&self) -> PathBuf {
        self.unfinished().join(format!("{}.new", Uuid::now_v7()))
    }

    /// The length of an object.
    fn length(&self, key: &MediaKey) -> IoResult<Option<u64>> {
        match fs::metadata(self.object(key)) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put(&self, key: &MediaKey, content: &[u8]) -> IoResult<()> {
        let file = self.new_file();
        durable::write(&file, content)?;
        self.publish(&file, key).inspect_err(|_| durable::discard(&file))
    }

    /// Gives a synced file the name of an object, durably. The folders of the key may be deleted meanwhile, with the last object in them.
    fn publish(&self, file: &Path, key: &MediaKey) -> IoResult<()> {
        let object = self.object(key);
        // Those of the kind and of the book, and the one of all objects.
        let folders: Vec<&Path> = object.ancestors().skip(1).take(3).collect();
        for _ in 0..3 {
            fs::create_dir_all(folders[0])?;
            match fs::rename(file, &object) {
                // Also the outer ones, because each may be new.
                Ok(()) => return folders.iter().try_for_each(|folder| durable::sync_folder(folder)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::NotFound, "the folder of the object is deleted again and again"))
    }

    fn delete(&self, key: &MediaKey) -> IoResult<()> {
        let object = self.object(key);
        durable::remove(&object)?;
        // Only empty ones are removed; a failure does no harm.
        for folder in object.ancestors().skip(1).take(2) {
            drop(fs::remove_dir(folder));
        }
        Ok(())
    }

    /// Succeeds if a file can be written.
    fn check(&self) -> IoResult<()> {
        let file = self.new_file();
        durable::write(&file, b"ok")?;
        fs::remove_file(&file)
    }

    fn told(&self, doing: &str, failed: Failed) -> StoreError {
        let error = match failed {
            Failed::Known(error) => return error,
            Failed::Io(error) => error,
        };
        let message = format!("{doing} in the media folder {} failed: {error}", self.root.display());
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                StoreError::DiskFull(format!("{message}; free space on its disk"))
            }
            _ => StoreError::Unavailable(message),
        }
    }
}

#[async_trait]
impl Media for MediaFolder {
    fn describe(&self) -> String {
        format!("folder {}", self.0.root.display())
    }

    async fn begin(&self, key: &MediaKey, _content_type: &str) -> Result<MultipartId, StoreError> {
        let key = *key;
        self.run("beginning an upload", move |folder| Ok(folder.begin(&key)?)).await
    }

    async fn put_part(
        &self,
        _key: &MediaKey,
        upload: &MultipartId,
        number: u32,
        content: Bytes,
    ) -> Result<PartFacts, StoreError> {
        check_number(number)?;
        let upload = upload.clone();
        self.run("storing a part", move |folder| folder.upload(&upload)?.put_part(number, &content)).await
    }

    async fn parts(&self, _key: &MediaKey, upload: &MultipartId) -> Result<Vec<PartFacts>, StoreError> {
        let upload = upload.clone();
        self.run("listing parts", move |folder| Ok(folder.upload(&upload)?.parts()?)).await
    }

    async fn put_tail(
        &self,
        _key: &MediaKey,
        upload: &MultipartId,
        writer: i64,
        content: Bytes,
    ) -> Result<(), StoreError> {
        let upload = upload.clone();
        self.run("storing a tail", move |folder| folder.upload(&upload)?.put_tail(writer, &content)).await
    }

    async fn tail(&self, _key: &MediaKey, upload: &MultipartId, writer: i64) -> Result<Option<Bytes>, StoreError> {
        let upload = upload.clone();
        self.run("reading a tail", move |folder| folder.upload(&upload)?.tail(writer)).await
    }

    async fn delete_tail(&self, _key: &MediaKey, upload: &MultipartId, writer: i64) -> Result<(), StoreError> {
        let upload = upload.clone();
        self.run("deleting a tail", move |folder| Ok(folder.upload(&upload)?.delete_tail(writer)?)).await
    }

    async fn finish(
        &self,
        key: &MediaKey,
        upload: &MultipartId,
        parts: &[PartFacts],
    ) -> Result<MediaFacts, StoreError> {
        let (key, upload, parts) = (*key, upload.clone(), parts.to_vec());
        self.run("finishing an upload", move |folder| folder.finish(&key, &upload, &parts)).await
    }

    async fn abort(&self, _key: &MediaKey, upload: &MultipartId) -> Result<(), StoreError> {
        let upload = upload.clone();
        // An id of another store is that of no upload here.
        self.run("ending an upload", move |folder| folder.upload(&upload).map_or(Ok(()), |upload| Ok(upload.remove()?)))
            .await
    }

    async fn put(&self, key: &MediaKey, _content_type: &str, content: Bytes) -> Result<(), StoreError> {
        let key = *key;
        self.run("storing an object", move |folder| Ok(folder.put(&key, &content)?)).await
    }

    async fn head(&self, key: &MediaKey) -> Result<Option<MediaFacts>, StoreError> {
        let key = *key;
        let length = self.run("looking for an object", move |folder| Ok(folder.length(&key)?)).await?;
        Ok(length.map(|bytes| MediaFacts { bytes }))
    }

    async fn read(&self, key: &MediaKey, range: Range<u64>) -> Result<Option<MediaStream>, StoreError> {
        let key = *key;
        let opened = self.run("reading an object", move |folder| Ok(read::open(&folder.object(&key), &range)?)).await?;
        Ok(opened.map(|(reader, first)| reader.stream(self.0.clone(), first)))
    }

    async fn link(
        &self,
        _key: &MediaKey,
        _range: Option<Range<u64>>,
        _file_name: &str,
        _lifetime: Duration,
    ) -> Result<Option<Url>, StoreError> {
        Ok(None)
    }

    async fn delete(&self, key: &MediaKey) -> Result<(), StoreError> {
        let key = *key;
        self.run("deleting an object", move |folder| Ok(folder.delete(&key)?)).await
    }

    async fn sweep_unfinished(&self, older_than: Duration, keep: &BTreeSet<MediaKey>) -> Result<u64, StoreError> {
        let keep = keep.clone();
        self.run("sweeping uploads", move |folder| Ok(folder.sweep(older_than, &keep)?)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.run("storing a file", |folder| Ok(folder.check()?)).await
    }
}

#[cfg(test)]
mod tests;
