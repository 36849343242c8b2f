//! A media store in an S3 bucket, below a prefix.
//!
//! - `objects/<key>`: the objects, and the multipart uploads that become them.
//! - `tails/<key>/<upload>/<writer>`: tails of unfinished objects: S3 refuses small parts before the last one.
//!
//! A power cut is the bucket's concern: S3 answers when what it has is durable.

mod listing;
mod open;
mod requests;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::aws::AmazonS3;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
};
use reqwest::Method;
use reqwest::header::{HeaderValue, RANGE};
use url::Url;

use super::{
    MAX_SWEPT, Media, MediaFacts, MediaKey, MediaStream, MultipartId, PART_BYTES, PartFacts, attachment, check_number,
    length_of, other_parts, upload_gone,
};
use crate::StoreError;

/// Pauses between looks for an object that is being made of its parts.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1_500),
    Duration::from_secs(5),
];
/// Longest time of a signed address, as S3 has it.
const LONGEST_LINK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A media store in an S3 bucket.
pub(super) struct MediaBucket {
    store: AmazonS3,
    /// For what `object_store` has no call for.
    client: reqwest::Client,
    prefix: Path,
    /// For the log, without secrets.
    description: String,
}

impl MediaBucket {
    fn path(&self, folder: &str, rest: &str) -> Path {
        self.prefix.parts().chain(Path::from(folder).parts()).chain(Path::from(rest).parts()).collect()
    }

    fn object(&self, key: &MediaKey) -> Path {
        self.path("objects", &key.to_string())
    }

    /// The path of all tails of an upload. Another upload may have the same key for a moment, when two writers begin at once.
    fn tails(&self, key: &MediaKey, upload: &MultipartId) -> Path {
        self.path("tails", &key.to_string()).join(upload.0.as_str())
    }

    fn tail_of(&self, key: &MediaKey, upload: &MultipartId, writer: i64) -> Path {
        self.tails(key, upload).join(writer.to_string())
    }

    /// The key of an object or a tail at this path.
    fn key_at(&self, folder: &str, path: &Path) -> Option<MediaKey> {
        let folder = self.path(folder, "");
        let parts: Vec<String> = path.prefix_match(&folder)?.take(3).map(|part| part.as_ref().to_owned()).collect();
        parts.join("/").parse().ok()
    }

    fn failed(&self, doing: &str, error: &dyn Display) -> StoreError {
        StoreError::Unavailable(format!("{doing} in the {} failed: {error}", self.description))
    }

    /// Waits for an object that is being made: S3 may answer before it is.
    async fn made(&self, key: &MediaKey, pauses: &[Duration]) -> Result<Option<MediaFacts>, StoreError> {
        for pause in pauses {
            tokio::time::sleep(*pause).await;
            if let Some(facts) = self.head(key).await? {
                return Ok(Some(facts));
            }
        }
        Ok(None)
    }

    /// Deletes all tails of an upload.
    async fn delete_tails(&self, key: &MediaKey, upload: &MultipartId) -> Result<(), StoreError> {
        let tails = self.store.list(Some(&self.tails(key, upload))).map_ok(|tail| tail.location);
        let tails: Vec<Path> = tails.try_collect().await.map_err(|error| self.failed("listing tails", &error))?;
        for tail in tails {
            self.delete_at(&tail).await?;
        }
        Ok(())
    }

    /// Deletes what is at a path, if it is there.
    async fn delete_at(&self, path: &Path) -> Result<(), StoreError> {
        missing_is_fine(self.store.delete(path).await).map_err(|error| self.failed("deleting an object", &error))
    }
}

fn missing_is_fine(done: object_store::Result<()>) -> object_store::Result<()> {
    match done {
        Err(Error::NotFound { .. }) => Ok(()),
        done => done,
    }
}

/// A tag of S3 without its quotes, which some services leave out in lists.
fn plain_tag(tag: &str) -> String {
    tag.trim_matches('"').to_owned()
}

fn content_type(content_type: &str) -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, content_type.to_owned())])
}

#[async_trait]
impl Media for MediaBucket {
    fn describe(&self) -> String {
        self.description.clone()
    }

    async fn begin(&self, key: &MediaKey, kind: &str) -> Result<MultipartId, StoreError> {
        let options = PutMultipartOptions::from(content_type(kind));
        let id = self.store.create_multipart_opts(&self.object(key), options).await;
        id.map(MultipartId).map_err(|error| self.failed("beginning an upload", &error))
    }

    async fn put_part(
        &self,
        key: &MediaKey,
        upload: &MultipartId,
        number: u32,
        content: Bytes,
    ) -> Result<PartFacts, StoreError> {
        check_number(number)?;
        let bytes = content.len() as u64;
        // `object_store` counts parts from 0.
        let index = number as usize - 1;
        match self.store.put_part(&self.object(key), &upload.0, index, content.into()).await {
            Ok(part) => Ok(PartFacts { number, bytes, tag: plain_tag(&part.content_id) }),
            Err(Error::NotFound { .. }) => Err(upload_gone()),
            Err(error) => Err(self.failed("storing a part", &error)),
        }
    }

    async fn parts(&self, key: &MediaKey, upload: &MultipartId) -> Result<Vec<PartFacts>, StoreError> {
        self.listed_parts(&self.object(key), upload).await
    }

    async fn put_tail(
        &self,
        key: &MediaKey,
        upload: &MultipartId,
        writer: i64,
        content: Bytes,
    ) -> Result<(), StoreError> {
        let stored = self.store.put(&self.tail_of(key, upload, writer), content.into()).await;
        stored.map(drop).map_err(|error| self.failed("storing a tail", &error))
    }

    async fn tail(&self, key: &MediaKey, upload: &MultipartId, writer: i64) -> Result<Option<Bytes>, StoreError> {
        let failed = |error: Error| self.failed("reading a tail", &error);
        let found = match self.store.get(&self.tail_of(key, upload, writer)).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?,
        };
        if found.meta.size > PART_BYTES {
            return Err(other_parts(&"a tail is longer than a part"));
        }
        found.bytes().await.map(Some).map_err(failed)
    }

    async fn delete_tail(&self, key: &MediaKey, upload: &MultipartId, writer: i64) -> Result<(), StoreError> {
        self.delete_at(&self.tail_of(key, upload, writer)).await
    }

    async fn finish(
        &self,
        key: &MediaKey,
        upload: &MultipartId,
        parts: &[PartFacts],
    ) -> Result<MediaFacts, StoreError> {
        let expected = length_of(parts)?;
        let known = self.complete(&self.object(key), upload, parts).await?;
        // An upload that is not known is finished, by an earlier call, or ended.
        let pauses = if known { &PAUSES[..] } else { &PAUSES[..3] };
        let Some(facts) = self.made(key, pauses).await? else {
            return Err(if known {
                self.failed("finishing an upload", &"the object is not there yet; try again")
            } else {
                upload_gone()
            });
        };
        if facts.bytes != expected {
            return Err(other_parts(&format!("the object has {} bytes, and they have {expected}", facts.bytes)));
        }
        if let Err(error) = self.delete_tails(key, upload).await {
            tracing::warn!(%error, "the object is complete, and the sweep deletes its tails");
        }
        Ok(facts)
    }

    async fn abort(&self, key: &MediaKey, upload: &MultipartId) -> Result<(), StoreError> {
        let ended = self.store.abort_multipart(&self.object(key), &upload.0).await;
        missing_is_fine(ended).map_err(|error| self.failed("ending an upload", &error))?;
        self.delete_tails(key, upload).await
    }

    async fn put(&self, key: &MediaKey, kind: &str, content: Bytes) -> Result<(), StoreError> {
        let options = PutOptions::from(content_type(kind));
        let stored = self.store.put_opts(&self.object(key), content.into(), options).await;
        stored.map(drop).map_err(|error| self.failed("storing an object", &error))
    }

    async fn head(&self, key: &MediaKey) -> Result<Option<MediaFacts>, StoreError> {
        match self.store.head(&self.object(key)).await {
            Ok(found) => Ok(Some(MediaFacts { bytes: found.size })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("looking for an object", &error)),
        }
    }

    async fn read(&self, key: &MediaKey, range: Range<u64>) -> Result<Option<MediaStream>, StoreError> {
        let nothing = || futures::stream::empty().boxed();
        if range.is_empty() {
            return Ok(self.head(key).await?.map(|_| nothing()));
        }
        let start = range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let doing = "reading an object";
        match self.store.get_opts(&self.object(key), options).await {
            Ok(found) => {
                let description = self.description.clone();
                let failed = move |error: Error| {
                    StoreError::Unavailable(format!("{doing} in the {description} failed: {error}"))
                };
                Ok(Some(found.into_stream().map_err(failed).boxed()))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            // S3 refuses a range that begins past the end.
            Err(error) => match self.head(key).await? {
                Some(facts) if start >= facts.bytes => Ok(Some(nothing())),
                _ => Err(self.failed(doing, &error)),
            },
        }
    }

    async fn link(
        &self,
        key: &MediaKey,
        range: Option<Range<u64>>,
        file_name: &str,
        lifetime: Duration,
    ) -> Result<Option<Url>, StoreError> {
        let failed = |error: &dyn Display| self.failed("signing an address", error);
        let mut options = SignedUrlOptions::new().with_query([("response-content-disposition", attachment(file_name))]);
        if let Some(range) = range {
            let header = HeaderValue::try_from(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
            options = options.with_signed_header(RANGE, header.map_err(|error| failed(&error))?);
        }
        let lifetime = lifetime.clamp(Duration::from_secs(1), LONGEST_LINK);
        let signed = self.store.signed_url_opts(Method::GET, &self.object(key), lifetime, &options).await;
        signed.map(Some).map_err(|error| failed(&error))
    }

    async fn delete(&self, key: &MediaKey) -> Result<(), StoreError> {
        self.delete_at(&self.object(key)).await
    }

    async fn sweep_unfinished(&self, older_than: Duration, keep: &BTreeSet<MediaKey>) -> Result<u64, StoreError> {
        let began_before = Timestamp::now().checked_sub(older_than).unwrap_or(Timestamp::MIN);
        let uploads = self.end_unfinished(began_before, keep).await?;
        let tails = self.delete_old_tails(began_before, keep, MAX_SWEPT - uploads).await?;
        Ok((uploads + tails) as u64)
    }

    async fn check(&self) -> Result<(), StoreError> {
        let written = self.store.put(&self.path("check", "writable"), Bytes::from_static(b"ok").into()).await;
        written.map(drop).map_err(|error| self.failed("storing an object", &error))
    }
}
