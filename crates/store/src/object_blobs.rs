//! Blobs in a folder or an S3 bucket.
//!
//! The path of a blob is its key below the prefix, so retention deletes whole days by path.

pub(crate) mod http;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{BlobKey, BlobKind, SubjectId, TenantId};
use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};

use crate::{Blobs, StoreError, has_any};

/// Time limit for all retries of one request to a bucket.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Path of the object that [`Blobs::check`] writes.
const CHECK_PATH: &str = "check/writable";

/// Blobs in a folder (`file:///absolute/path`) or in an S3 bucket (`s3://bucket/prefix`).
pub struct ObjectBlobs {
    store: Arc<dyn ObjectStore>,
    /// The same store, with fsync after each write if it is a folder. An fsync takes milliseconds and delays other writers.
    synced_store: Arc<dyn ObjectStore>,
    /// Prefix of all keys in a bucket; empty for a folder.
    prefix: Path,
    /// The path of the folder; `None` for a bucket.
    folder: Option<PathBuf>,
    /// For the log, without secrets.
    description: String,
}

impl ObjectBlobs {
    /// Opens the store at `url`. Creates the folder if it does not exist. Sends no request to a bucket; [`Blobs::check`] does.
    ///
    /// The environment gives region, credentials and endpoint of a bucket: `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT` (such as for MinIO), `AWS_ALLOW_HTTP`.
    ///
    /// # Errors
    /// If the URL has another form, or the folder cannot be created.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("file://") {
            return Self::folder(PathBuf::from(path));
        }
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            return Self::bucket(bucket, prefix);
        }
        Err(invalid_url())
    }

    /// Opens a folder, and creates it if it does not exist.
    ///
    /// # Errors
    /// If the path is not absolute, or the folder cannot be created.
    pub fn folder(path: PathBuf) -> Result<Self, StoreError> {
        if !path.is_absolute() {
            return Err(invalid_url());
        }
        let failed = |error: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!(
                "the blob folder {} cannot be used ({error}); see SIGHTLINE_BLOB_URL",
                path.display()
            ))
        };
        std::fs::create_dir_all(&path).map_err(|error| failed(&error))?;
        let store = LocalFileSystem::new_with_prefix(&path).map_err(|error| failed(&error))?;
        let synced_store = Arc::new(store.clone().with_fsync(true));
        let description = format!("folder {}", path.display());
        Ok(Self { store: Arc::new(store), synced_store, prefix: Path::default(), folder: Some(path), description })
    }

    fn bucket(bucket: &str, prefix: &str) -> Result<Self, StoreError> {
        if bucket.is_empty() {
            return Err(invalid_url());
        }
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| invalid_url())?;
        let store: Arc<dyn ObjectStore> = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_http_connector(http::ReqwestConnector)
            .with_retry(RetryConfig { max_retries: 3, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() })
            .build()
            .map(Arc::new)
            .map_err(|error| StoreError::Fatal(format!("the blob bucket {bucket} cannot be used: {error}")))?;
        let description = format!("S3 bucket {bucket}, keys under \"{prefix}\"");
        Ok(Self { synced_store: store.clone(), store, prefix, folder: None, description })
    }

    /// The path of a key, below the prefix.
    fn object_path(&self, key: &str) -> Path {
        self.prefix.parts().chain(Path::from(key).parts()).collect()
    }

    fn failed(&self, doing: &str, error: &object_store::Error) -> StoreError {
        let message = format!("{doing} in the {} failed: {error}", self.description);
        if is_disk_full(error) {
            return StoreError::DiskFull(format!("{message}; free space on its disk"));
        }
        StoreError::Unavailable(message)
    }

    /// A write would create a missing folder again, with nothing in it.
    fn check_folder(&self) -> Result<(), StoreError> {
        match &self.folder {
            Some(folder) if !folder.is_dir() => Err(StoreError::Unavailable(format!(
                "the blob folder {} was deleted; restore it and restart",
                folder.display()
            ))),
            _ => Ok(()),
        }
    }

    /// The numbers of blobs with one of the texts in their key, by the first part of the key. It lists all blobs.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn keys_with(&self, texts: &[String]) -> Result<BTreeMap<String, u64>, StoreError> {
        let prefix = (!self.prefix.as_ref().is_empty()).then_some(&self.prefix);
        let mut blobs = self.store.list(prefix);
        let mut found = BTreeMap::new();
        while let Some(blob) = blobs.try_next().await.map_err(|error| self.failed("listing blobs", &error))? {
            let key = blob.location;
            if has_any(key.as_ref().as_bytes(), texts) {
                let kind = key.parts().nth(self.prefix.parts().count());
                *found.entry(kind.map_or_else(String::new, |kind| kind.as_ref().to_owned())).or_default() += 1;
            }
        }
        Ok(found)
    }

    /// The paths of the days that have blobs of a kind.
    async fn days(&self, kind: BlobKind) -> Result<Vec<Path>, StoreError> {
        let path = self.object_path(kind.as_str());
        let listed = self.store.list_with_delimiter(Some(&path)).await;
        Ok(listed.map_err(|error| self.failed("listing blobs", &error))?.common_prefixes)
    }

    /// Deletes all blobs below a path, such as those of a day. Blobs that another process deletes meanwhile are not counted.
    async fn delete_under(&self, path: &Path) -> Result<u64, StoreError> {
        let paths = self.store.list(Some(path)).map_ok(|blob| blob.location).boxed();
        let mut results = self.store.delete_stream(paths);
        let mut deleted = 0;
        while let Some(result) = results.next().await {
            match result {
                Ok(_) => deleted += 1,
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("deleting blobs", &error)),
            }
        }
        if let Some(folder) = &self.folder {
            // Removes empty folders and partial files of a killed process. A failure does no harm, because these are not blobs.
            drop(tokio::fs::remove_dir_all(folder.join(path.as_ref())).await);
        }
        Ok(deleted)
    }
}

/// Whether the cause is a full disk, or a used-up disk quota.
fn is_disk_full(error: &object_store::Error) -> bool {
    let first: &(dyn Error + 'static) = error;
    let causes = std::iter::successors(Some(first), |&cause| cause.source());
    let mut kinds = causes.filter_map(|cause| Some(cause.downcast_ref::<std::io::Error>()?.kind()));
    kinds.any(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

fn invalid_url() -> StoreError {
    StoreError::Fatal("SIGHTLINE_BLOB_URL must be file:///absolute/path or s3://bucket/prefix".to_owned())
}

#[async_trait]
impl Blobs for ObjectBlobs {
    fn describe(&self) -> String {
        self.description.clone()
    }

    async fn put(&self, key: &BlobKey, content: Bytes) -> Result<(), StoreError> {
        let path = self.object_path(&key.to_string());
        self.check_folder()?;
        let is_synced = matches!(key.kind(), BlobKind::Inbox | BlobKind::Enrolled);
        let store = if is_synced { &self.synced_store } else { &self.store };
        store.put(&path, content.into()).await.map_err(|error| self.failed("storing a blob", &error))?;
        Ok(())
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Bytes>, StoreError> {
        let path = self.object_path(&key.to_string());
        let read = async { self.store.get(&path).await?.bytes().await };
        match read.await {
            // An image is never empty. After a power cut, a write that was not synced may leave an empty file.
            Ok(content) if content.is_empty() => Ok(None),
            Ok(content) => Ok(Some(content)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("reading a blob", &error)),
        }
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        let path = self.object_path(&key.to_string());
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("deleting a blob", &error)),
        }
    }

    async fn sweep(&self, kind: BlobKind, age: Duration) -> Result<u64, StoreError> {
        if kind == BlobKind::Enrolled {
            return Ok(0);
        }
        let mut deleted = 0;
        for day in self.days(kind).await? {
            if day.filename().is_some_and(|name| ended_longer_ago(name, age, Timestamp::now())) {
                deleted += self.delete_under(&day).await?;
            }
        }
        Ok(deleted)
    }

    async fn delete_enrolled(&self, tenant: &TenantId, subject: SubjectId) -> Result<u64, StoreError> {
        self.delete_under(&self.object_path(&format!("{}/{tenant}/{subject}", BlobKind::Enrolled.as_str()))).await
    }

    async fn delete_tenant(&self, kind: BlobKind, tenant: &TenantId) -> Result<u64, StoreError> {
        if kind == BlobKind::Enrolled {
            return self.delete_under(&self.object_path(&format!("{}/{tenant}", kind.as_str()))).await;
        }
        let mut deleted = 0;
        for day in self.days(kind).await? {
            deleted += self.delete_under(&day.join(tenant.as_str())).await?;
        }
        Ok(deleted)
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.check_folder()?;
        let written = self.store.put(&self.object_path(CHECK_PATH), Bytes::from_static(b"ok").into()).await;
        written.map(drop).map_err(|error| self.failed("storing a blob", &error))
    }
}

/// Whether `name` is a day that ended more than `age` before `now`. False if `name` is not a day.
fn ended_longer_ago(name: &str, age: Duration, now: Timestamp) -> bool {
    let end = name.parse::<Date>().ok().filter(|day| day.to_string() == name).and_then(|day| {
        let next = day.checked_add(1.day()).ok()?;
        Some(next.to_zoned(TimeZone::UTC).ok()?.timestamp())
    });
    end.is_some_and(|end| now.checked_sub(age).is_ok_and(|limit| end < limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_past_their_age_are_expired() {
        let now = "2026-01-10T12:00:00Z".parse().unwrap();
        let week = Duration::from_secs(7 * 86_400);
        for (name, old) in [
            ("2026-01-01", true),
            ("2026-01-02", true),
            // Ended on the 4th at midnight, six and a half days ago.
            ("2026-01-03", false),
            ("2026-01-10", false),
            ("2027-01-01", false),
            ("20260101", false),
            ("tenant", false),
            ("9999-12-31", false),
        ] {
            assert_eq!(ended_longer_ago(name, week, now), old, "{name}");
        }
        assert!(!ended_longer_ago("2026-01-01", Duration::MAX, now));
    }

    #[tokio::test]
    async fn a_deleted_folder_is_reported_and_not_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs");
        let store = ObjectBlobs::open(&format!("file://{}", blobs.display())).unwrap();
        store.check().await.unwrap();
        std::fs::remove_dir_all(&blobs).unwrap();
        let error = store.check().await.unwrap_err().to_string();
        assert!(error.contains("was deleted") && !blobs.exists(), "{error}");
    }

    #[test]
    fn an_invalid_url_error_names_the_setting() {
        for url in ["", "/tmp/x", "file://relative", "http://x/y", "s3://", "s3:///x", "gs://b/x"] {
            let refused = ObjectBlobs::open(url).err().map(|error| error.to_string());
            assert!(refused.is_some_and(|line| line.contains("SIGHTLINE_BLOB_URL")), "{url}");
        }
    }
}
