//! Lists what a bucket has of unfinished objects, and ends what is old.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::ObjectStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{MediaBucket, missing_is_fine, plain_tag};
use crate::StoreError;
use crate::media::{MAX_PARTS, MAX_SWEPT, MediaKey, MultipartId, PartFacts};

/// Maximum number of pages of a list in one call. A page has at most a thousand entries.
const MAX_PAGES: usize = 100;

/// A page of the parts of an upload.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PartsPage {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_part_number_marker: Option<String>,
    #[serde(default, rename = "Part")]
    parts: Vec<ListedPart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPart {
    part_number: u32,
    #[serde(rename = "ETag")]
    tag: String,
    size: u64,
}

/// A page of the unfinished uploads of a bucket.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadsPage {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: Option<String>,
    #[serde(default)]
    next_upload_id_marker: Option<String>,
    #[serde(default, rename = "Upload")]
    uploads: Vec<ListedUpload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedUpload {
    key: String,
    upload_id: String,
    initiated: String,
}

impl MediaBucket {
    /// The parts of an upload; none if it is not there.
    pub(super) async fn listed_parts(&self, path: &Path, upload: &MultipartId) -> Result<Vec<PartFacts>, StoreError> {
        let mut found = Vec::new();
        let mut after = "0".to_owned();
        while found.len() < MAX_PARTS as usize {
            let doing = "listing parts";
            let query = [("uploadId", upload.0.as_str()), ("part-number-marker", after.as_str())];
            let Some(body) = self.list(doing, path, &query).await? else { return Ok(Vec::new()) };
            let page: PartsPage = self.parsed(doing, &body)?;
            let parts = page.parts.into_iter().map(|part| {
                let tag = plain_tag(&part.tag);
                PartFacts { number: part.part_number, bytes: part.size, tag }
            });
            found.extend(parts);
            match page.next_part_number_marker.filter(|next| page.is_truncated && *next != after) {
                Some(next) => after = next,
                None => break,
            }
        }
        Ok(found)
    }

    /// Ends uploads of ours that began before this time and have other keys. Returns their number.
    pub(super) async fn end_unfinished(
        &self,
        began_before: Timestamp,
        keep: &BTreeSet<MediaKey>,
    ) -> Result<usize, StoreError> {
        let mut ended = 0;
        let prefix = format!("{}/", self.path("objects", ""));
        let (mut after_key, mut after_upload) = (String::new(), String::new());
        for _ in 0..MAX_PAGES {
            let page = self.uploads_after(&prefix, &after_key, &after_upload).await?;
            let old = page.uploads.iter().filter(|upload| upload.began_by(began_before));
            for (upload, path) in old.filter_map(|upload| Some((upload, Path::parse(&upload.key).ok()?))) {
                if ended < MAX_SWEPT && self.is_swept("objects", &path, keep) {
                    let done = self.store.abort_multipart(&path, &upload.upload_id).await;
                    missing_is_fine(done).map_err(|error| self.failed("ending an upload", &error))?;
                    ended += 1;
                }
            }
            let next = page.next_key_marker.filter(|next| page.is_truncated && *next >= after_key);
            let Some(next) = next.filter(|_| ended < MAX_SWEPT) else { break };
            (after_key, after_upload) = (next, page.next_upload_id_marker.unwrap_or_default());
        }
        Ok(ended)
    }

    async fn uploads_after(&self, prefix: &str, key: &str, upload: &str) -> Result<UploadsPage, StoreError> {
        let doing = "listing uploads";
        let mut query = vec![("uploads", ""), ("prefix", prefix)];
        let markers = [("key-marker", key), ("upload-id-marker", upload)];
        query.extend(markers.into_iter().filter(|(_, marker)| !marker.is_empty()));
        let body = self.list(doing, &Path::ROOT, &query).await?.unwrap_or_default();
        self.parsed(doing, &body)
    }

    /// Deletes tails of ours that are older than this time and have other keys. Returns their number.
    pub(super) async fn delete_old_tails(
        &self,
        written_before: Timestamp,
        keep: &BTreeSet<MediaKey>,
        at_most: usize,
    ) -> Result<usize, StoreError> {
        let mut tails = self.store.list(Some(&self.path("tails", "")));
        let mut deleted = 0;
        while deleted < at_most
            && let Some(tail) = tails.try_next().await.map_err(|error| self.failed("listing tails", &error))?
        {
            let is_old = tail.last_modified.timestamp() <= written_before.as_second();
            if is_old && self.is_swept("tails", &tail.location, keep) {
                self.delete_at(&tail.location).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// Whether a path has a key of ours that is not kept.
    fn is_swept(&self, folder: &str, path: &Path, keep: &BTreeSet<MediaKey>) -> bool {
        self.key_at(folder, path).is_some_and(|key| !keep.contains(&key))
    }

    fn parsed<T: DeserializeOwned>(&self, doing: &str, body: &str) -> Result<T, StoreError> {
        quick_xml::de::from_str(body).map_err(|error| self.failed(doing, &error))
    }
}

impl ListedUpload {
    /// Whether it began at this time or earlier. S3 tells whole seconds.
    fn began_by(&self, time: Timestamp) -> bool {
        self.initiated.parse::<Timestamp>().is_ok_and(|began| began.as_second() <= time.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_uploads_is_read_with_and_without_entries() {
        let page = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListMultipartUploadsResult \
            xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>b</Bucket><KeyMarker/><NextKeyMarker>k</NextKeyMarker>\
            <NextUploadIdMarker>u</NextUploadIdMarker><MaxUploads>1000</MaxUploads><IsTruncated>true</IsTruncated>\
            <Upload><Initiated>2026-01-02T03:04:05Z</Initiated><Key>a/b</Key><UploadId>1</UploadId><Owner><ID>x</ID></Owner></Upload>\
            <Upload><Key>a/c</Key><UploadId>2</UploadId><Initiated>2026-01-02T03:04:05.678Z</Initiated></Upload>\
            </ListMultipartUploadsResult>";
        let page: UploadsPage = quick_xml::de::from_str(page).unwrap();
        assert!(page.is_truncated && page.next_key_marker.as_deref() == Some("k") && page.uploads.len() == 2);
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        assert!(page.uploads.iter().all(|upload| upload.began_by(at)));
        let earlier = "2026-01-02T03:04:04Z".parse().unwrap();
        assert!(!page.uploads.iter().any(|upload| upload.began_by(earlier)));
        let none = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        let none: UploadsPage = quick_xml::de::from_str(none).unwrap();
        assert!(none.uploads.is_empty() && none.next_key_marker.is_none());
    }

    #[test]
    fn a_page_of_parts_is_read() {
        let page = "<ListPartsResult><NextPartNumberMarker>2</NextPartNumberMarker><IsTruncated>false</IsTruncated>\
            <Part><PartNumber>2</PartNumber><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>&quot;a&quot;</ETag>\
            <Size>8388608</Size></Part></ListPartsResult>";
        let page: PartsPage = quick_xml::de::from_str(page).unwrap();
        let part = &page.parts[0];
        assert_eq!((part.part_number, part.tag.as_str(), part.size), (2, "\"a\"", 8 << 20));
    }
}
