//! Uploads in a folder: parts, tails, and the object that is made of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Result as IoResult};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use uuid::Uuid;

use super::{Failed, Folder, durable};
use crate::media::{
    MAX_SWEPT, MediaFacts, MediaKey, MultipartId, PART_BYTES, PartFacts, length_of, other_parts, upload_gone,
};

/// Name of the file with the key of an upload.
const KEY: &str = "key";

/// An upload that may be gone.
pub(super) struct Upload<'a> {
    store: &'a Folder,
    folder: PathBuf,
}

impl Folder {
    /// Begins an upload.
    pub(super) fn begin(&self, key: &MediaKey) -> IoResult<MultipartId> {
        let id = MultipartId(Uuid::now_v7().to_string());
        let folder = self.unfinished().join(&id.0);
        fs::create_dir(&folder)?;
        durable::write(&folder.join(KEY), key.to_string().as_bytes())?;
        durable::sync_folder(&folder)?;
        durable::sync_folder(&self.unfinished())?;
        Ok(id)
    }

    /// The upload with this id, which is checked because it becomes a path.
    pub(super) fn upload(&self, id: &MultipartId) -> Result<Upload<'_>, Failed> {
        let known = Uuid::try_parse(&id.0).map_err(|_| upload_gone())?;
        Ok(Upload { store: self, folder: self.unfinished().join(known.to_string()) })
    }

    /// Makes the object of these parts.
    pub(super) fn finish(
        &self,
        key: &MediaKey,
        upload: &MultipartId,
        parts: &[PartFacts],
    ) -> Result<MediaFacts, Failed> {
        let expected = length_of(parts)?;
        let upload = self.upload(upload)?;
        if self.length(key)?.is_none()
            && let Err(error) = upload.join(key, parts)
            // Another call may have made it meanwhile, and deleted the parts.
            && self.length(key)?.is_none()
        {
            return Err(error);
        }
        let bytes = self.length(key)?.ok_or_else(upload_gone)?;
        if bytes != expected {
            return Err(other_parts(&format!("the object has {bytes} bytes, and they have {expected}")).into());
        }
        upload.remove()?;
        Ok(MediaFacts { bytes })
    }

    /// Deletes uploads and files in writing that began too long ago.
    pub(super) fn sweep(&self, older_than: Duration, keep: &BTreeSet<MediaKey>) -> IoResult<u64> {
        let mut swept = 0;
        for entry in fs::read_dir(self.unfinished())? {
            let path = entry?.path();
            if swept < MAX_SWEPT as u64 && is_old(&path, older_than) && !is_kept(&path, keep) {
                let is_file = path.extension().is_some();
                durable::missing_is_fine(if is_file { fs::remove_file(&path) } else { fs::remove_dir_all(&path) })?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

impl Upload<'_> {
    /// Each part is a file of its own, also with the same number: a late writer changes no part that another has recorded. Tags are UUIDv7.
    pub(super) fn put_part(&self, number: u32, content: &[u8]) -> Result<PartFacts, Failed> {
        let part = PartFacts { number, bytes: content.len() as u64, tag: Uuid::now_v7().to_string() };
        self.write(&file_of(&part)?, content)?;
        Ok(part)
    }

    /// The latest part of each number.
    pub(super) fn parts(&self) -> IoResult<Vec<PartFacts>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            if let Some((number, tag)) = entry.file_name().to_str().and_then(part_of) {
                found.push(PartFacts { number, bytes: entry.metadata()?.len(), tag });
            }
        }
        // A later part has a greater tag.
        found.sort_by(|one, other| one.number.cmp(&other.number).then_with(|| other.tag.cmp(&one.tag)));
        found.dedup_by_key(|part| part.number);
        Ok(found)
    }

    pub(super) fn put_tail(&self, writer: i64, content: &[u8]) -> Result<(), Failed> {
        self.write(&tail_name(writer), content)
    }

    pub(super) fn tail(&self, writer: i64) -> Result<Option<Bytes>, Failed> {
        let file = match File::open(self.folder.join(tail_name(writer))) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let mut content = Vec::new();
        file.take(PART_BYTES).read_to_end(&mut content)?;
        Ok(Some(content.into()))
    }

    pub(super) fn delete_tail(&self, writer: i64) -> IoResult<()> {
        durable::missing_is_fine(fs::remove_file(self.folder.join(tail_name(writer))))
    }

    /// Deletes the upload, if it is there.
    pub(super) fn remove(&self) -> IoResult<()> {
        durable::missing_is_fine(fs::remove_dir_all(&self.folder))?;
        durable::sync_folder(&self.store.unfinished())
    }

    /// Writes a file of the upload durably: under another name, and then under its own.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failed> {
        self.must_exist()?;
        let new = self.store.new_file();
        durable::write(&new, content)?;
        let named = fs::rename(&new, self.folder.join(name)).and_then(|()| durable::sync_folder(&self.folder));
        if let Err(error) = named {
            durable::discard(&new);
            // It may have been ended in the meantime.
            self.must_exist()?;
            return Err(error.into());
        }
        Ok(())
    }

    fn must_exist(&self) -> Result<(), Failed> {
        if self.folder.is_dir() { Ok(()) } else { Err(upload_gone().into()) }
    }

    /// Copies the parts into a new file, and gives it the name of the object.
    fn join(&self, key: &MediaKey, parts: &[PartFacts]) -> Result<(), Failed> {
        self.must_exist()?;
        let new = self.store.new_file();
        let joined = self.copy(parts, &new).and_then(|()| Ok(self.store.publish(&new, key)?));
        joined.inspect_err(|_| durable::discard(&new))
    }

    fn copy(&self, parts: &[PartFacts], into: &Path) -> Result<(), Failed> {
        let mut object = File::create_new(into)?;
        for part in parts {
            let mut source = match File::open(self.folder.join(file_of(part)?)) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(other_parts(&format!("part {} is missing", part.number)).into());
                }
                opened => opened?,
            };
            let copied = std::io::copy(&mut source, &mut object)?;
            if copied != part.bytes {
                return Err(other_parts(&format!("part {} has {copied} bytes", part.number)).into());
            }
        }
        Ok(object.sync_all()?)
    }
}

/// The name of a part. Its tag is checked because it becomes a path.
fn file_of(part: &PartFacts) -> Result<String, Failed> {
    let tag = Uuid::try_parse(&part.tag).map_err(|_| other_parts(&format!("part {} has another tag", part.number)))?;
    Ok(format!("part-{:05}-{tag}", part.number))
}

/// Number and tag of the part with this name.
fn part_of(name: &str) -> Option<(u32, String)> {
    let (number, tag) = name.strip_prefix("part-")?.split_once('-')?;
    Some((number.parse().ok()?, tag.to_owned()))
}

fn tail_name(writer: i64) -> String {
    format!("tail-{writer}")
}

/// Whether the upload or file in writing began this long ago. What has another name is not ours.
fn is_old(path: &Path, older_than: Duration) -> bool {
    let id = path.file_stem().and_then(|stem| Uuid::try_parse(stem.to_str()?).ok());
    let began = id.and_then(|id| id.get_timestamp()).map(|began| {
        let (seconds, nanoseconds) = began.to_unix();
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds)
    });
    began.is_some_and(|began| SystemTime::now().duration_since(began).is_ok_and(|age| age >= older_than))
}

/// Whether it is an upload with one of these keys. One whose process ended before it wrote the key is not.
fn is_kept(path: &Path, keep: &BTreeSet<MediaKey>) -> bool {
    let key = fs::read_to_string(path.join(KEY)).ok().and_then(|key| key.parse::<MediaKey>().ok());
    key.is_some_and(|key| keep.contains(&key))
}
