//! The trait of the media store: large files in parts, and small ones as a whole, read in ranges.
//!
//! In: parts of a file in any order, whole small files, keys. Out: facts, streams of ranges, and addresses with which a client reads an
//! object of a bucket without us.
//!
//! Guarantees, on a folder and on S3 alike; one contract suite runs on both:
//! - When [`Media::put_part`], [`Media::put_tail`] or [`Media::put`] has returned, what it stored survives a kill of this process; in a folder
//!   also a power cut.
//! - A reader sees the whole object or none: it is there from the moment when [`Media::finish`] or [`Media::put`] makes it.
//! - [`Media::finish`] gives the same answer when it is called again, and also when a process died in the middle of it.
//! - Memory is bounded: a writer holds one part, a reader one block.

mod args;
mod attachment;
mod bucket;
mod folder;
mod key;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use url::Url;

use crate::StoreError;

pub use args::MediaArgs;
pub use attachment::attachment;
pub use key::{MediaKey, MediaKeyError};

/// Bytes of every part but the last. S3 refuses an object with a smaller part than 5 MiB before the last one.
pub const PART_BYTES: u64 = 8 << 20;
/// The highest number of a part, which is that of S3. The first is 1.
pub const MAX_PARTS: u32 = 10_000;
/// Maximum number of things that one call of [`Media::sweep_unfinished`] ends.
const MAX_SWEPT: usize = 1_000;

/// The bytes of a range, block by block. Nothing is read ahead of the reader but what a connection to S3 holds.
pub type MediaStream = BoxStream<'static, Result<Bytes, StoreError>>;

/// Id of an unfinished object, given by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultipartId(pub String);

impl fmt::Display for MultipartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A stored part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartFacts {
    /// Its number, 1 to [`MAX_PARTS`].
    pub number: u32,
    /// Its length.
    pub bytes: u64,
    /// What the store calls its content.
    pub tag: String,
}

/// A stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaFacts {
    /// Its length.
    pub bytes: u64,
}

/// Audio files, previews and covers by key. Share it as `Arc<dyn Media>`. A key names one object only: another file gets a new key.
#[async_trait]
pub trait Media: Send + Sync {
    /// Kind and location of the store for the log, without secrets.
    fn describe(&self) -> String;

    /// Begins an object that is stored in parts.
    async fn begin(&self, key: &MediaKey, content_type: &str) -> Result<MultipartId, StoreError>;

    /// Stores a part durably. Every part but the last must have [`PART_BYTES`]. The same number again replaces the part; gaps between numbers
    /// are allowed.
    ///
    /// `Fatal` if the upload is not there: it was ended or finished.
    async fn put_part(
        &self,
        key: &MediaKey,
        upload: &MultipartId,
        number: u32,
        content: Bytes,
    ) -> Result<PartFacts, StoreError>;

    /// The parts that the store has, by their numbers. None if the upload is not there.
    async fn parts(&self, key: &MediaKey, upload: &MultipartId) -> Result<Vec<PartFacts>, StoreError>;

    /// Stores the bytes after the last whole part durably, fewer than [`PART_BYTES`]. Each writer has a tail of its own, which it replaces, so
    /// that a late write changes no other writer's.
    async fn put_tail(
        &self,
        key: &MediaKey,
        upload: &MultipartId,
        writer: i64,
        content: Bytes,
    ) -> Result<(), StoreError>;

    /// The tail of a writer; `None` if there is none.
    async fn tail(&self, key: &MediaKey, upload: &MultipartId, writer: i64) -> Result<Option<Bytes>, StoreError>;

    /// Deletes the tail of a writer. Succeeds if there is none.
    async fn delete_tail(&self, key: &MediaKey, upload: &MultipartId, writer: i64) -> Result<(), StoreError>;

    /// Makes the object of these parts, in ascending order of their numbers, and deletes other parts and tails.
    ///
    /// Again, also after a crash in the middle: the same answer. `Fatal` if the parts are not those that the store has, or are none.
    async fn finish(&self, key: &MediaKey, upload: &MultipartId, parts: &[PartFacts])
    -> Result<MediaFacts, StoreError>;

    /// Deletes the parts and tails of an unfinished object. Succeeds if there are none, and never deletes a finished object.
    async fn abort(&self, key: &MediaKey, upload: &MultipartId) -> Result<(), StoreError>;

    /// Stores a small object as a whole, durably.
    async fn put(&self, key: &MediaKey, content_type: &str, content: Bytes) -> Result<(), StoreError>;

    /// The facts of an object; `None` if there is none.
    async fn head(&self, key: &MediaKey) -> Result<Option<MediaFacts>, StoreError>;

    /// Reads the part of `range` that the object has; nothing past its end. `None` if there is no object.
    async fn read(&self, key: &MediaKey, range: Range<u64>) -> Result<Option<MediaStream>, StoreError>;

    /// An address with which a client reads the object from the bucket itself for this time, at most seven days; `None` on a folder.
    ///
    /// With `range` the client must send exactly the header `Range: bytes=<start>-<end - 1>`, which is signed. The address cannot be called
    /// back before its time ends.
    async fn link(
        &self,
        key: &MediaKey,
        range: Option<Range<u64>>,
        file_name: &str,
        lifetime: Duration,
    ) -> Result<Option<Url>, StoreError>;

    /// Deletes an object. Succeeds if there is none.
    async fn delete(&self, key: &MediaKey) -> Result<(), StoreError>;

    /// Ends unfinished objects that began longer ago than `older_than` and whose keys are not in `keep`, also those that nobody remembers.
    /// Returns their number, at most 1,000; the next call ends others.
    ///
    /// A bucket also has those of other programs; only those with keys of ours below our prefix are ended.
    async fn sweep_unfinished(&self, older_than: Duration, keep: &BTreeSet<MediaKey>) -> Result<u64, StoreError>;

    /// Succeeds if an object can be written.
    async fn check(&self) -> Result<(), StoreError>;
}

/// Opens the media store of the settings. Sends no request to a bucket; [`Media::check`] does.
///
/// # Errors
/// `Fatal` if it is not set or has another form. `Unavailable` if the folder cannot be used.
pub fn open_media(args: &MediaArgs) -> Result<Arc<dyn Media>, StoreError> {
    let url = args.media_url.as_deref().ok_or_else(|| {
        StoreError::Fatal("SIGHTLINE_MEDIA_URL is not set; set it, for example to s3://sightline/media".to_owned())
    })?;
    if let Some(path) = url.strip_prefix("file://") {
        return media_folder(PathBuf::from(path));
    }
    let rest = url.strip_prefix("s3://").ok_or_else(invalid_url)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    Ok(Arc::new(bucket::MediaBucket::open(bucket, prefix, args)?))
}

/// Opens a media store in a folder, and creates it if it does not exist.
///
/// # Errors
/// `Fatal` if the path is not absolute. `Unavailable` if the folder cannot be used.
pub fn media_folder(path: PathBuf) -> Result<Arc<dyn Media>, StoreError> {
    Ok(Arc::new(folder::MediaFolder::open(path)?))
}

fn invalid_url() -> StoreError {
    StoreError::Fatal("SIGHTLINE_MEDIA_URL must be file:///absolute/path or s3://bucket/prefix".to_owned())
}

/// Checks that the number of a part is one.
fn check_number(number: u32) -> Result<(), StoreError> {
    if (1..=MAX_PARTS).contains(&number) {
        return Ok(());
    }
    Err(StoreError::Fatal(format!("{number} is no number of a part: they are 1 to {MAX_PARTS}")))
}

/// The length of all parts.
///
/// # Errors
/// `Fatal` if there are none, or they are not in ascending order.
fn length_of(parts: &[PartFacts]) -> Result<u64, StoreError> {
    let ascend = parts.windows(2).all(|pair| pair[0].number < pair[1].number);
    if parts.is_empty() || !ascend {
        return Err(StoreError::Fatal("an object needs parts, in the order of their numbers".to_owned()));
    }
    Ok(parts.iter().map(|part| part.bytes).sum())
}

/// The error for parts that are not those of the store.
fn other_parts(what: &dyn fmt::Display) -> StoreError {
    StoreError::Fatal(format!("the stored parts are not those that were recorded ({what}); begin a new upload"))
}

/// The error for an upload that the store does not have.
fn upload_gone() -> StoreError {
    StoreError::Fatal("the upload is not in the media store any more; begin a new upload".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, bytes: u64) -> PartFacts {
        PartFacts { number, bytes, tag: String::new() }
    }

    #[test]
    fn parts_ascend_and_are_not_none() {
        assert_eq!(length_of(&[part(1, 8), part(7, 8), part(8, 1)]).unwrap(), 17);
        for wrong in [vec![], vec![part(2, 1), part(1, 1)], vec![part(1, 1), part(1, 1)]] {
            assert!(matches!(length_of(&wrong), Err(StoreError::Fatal(_))), "{wrong:?}");
        }
        assert!(check_number(1).is_ok() && check_number(MAX_PARTS).is_ok());
        assert!(check_number(0).is_err() && check_number(MAX_PARTS + 1).is_err());
    }

    #[test]
    fn a_url_that_is_no_store_is_refused_with_the_name_of_the_setting() {
        for url in [None, Some(""), Some("http://x"), Some("file://relative"), Some("s3://")] {
            let args = MediaArgs { media_url: url.map(str::to_owned), ..MediaArgs::of_url("") };
            let refused = open_media(&args).err().map(|error| error.to_string());
            assert!(refused.as_ref().is_some_and(|line| line.contains("SIGHTLINE_MEDIA_URL")), "{url:?}: {refused:?}");
        }
    }
}
