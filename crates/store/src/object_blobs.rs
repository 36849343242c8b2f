//! Blobs in a folder or in an S3 bucket, by one address.

mod http;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{BlobKind, TenantId};
use futures::{StreamExt, TryStreamExt};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, RetryConfig};

use crate::{Blobs, StoreError};

/// Longest key that is taken.
const MAX_KEY: usize = 512;
/// How long a bucket that does not answer is asked again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Kind of the blob that [`Blobs::check`] writes.
const CHECK_KEY: &str = "check/writable";

/// Blobs in a folder (`file:///absolute/path`) or in an S3 bucket (`s3://bucket/prefix`).
pub struct ObjectBlobs {
    store: Arc<dyn ObjectStore>,
    /// The same, but what is put there is on the disk when that is done. It takes a folder's disk some milliseconds, and all
    /// that write to it wait.
    synced_store: Arc<dyn ObjectStore>,
    /// What all keys are under, in a bucket.
    prefix: Path,
    /// The folder, when it is one.
    folder: Option<PathBuf>,
    /// The address, without secrets.
    description: String,
}

impl ObjectBlobs {
    /// Opens the place that `address` names; makes the folder where there is none.
    ///
    /// A bucket's region, credentials and, for MinIO and the like, endpoint come from the usual variables: `AWS_REGION`,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT`, `AWS_ALLOW_HTTP`. Nothing is
    /// asked of it yet: [`Blobs::check`] does.
    ///
    /// # Errors
    /// When the address has neither form, or the folder cannot be made.
    pub fn open(address: &str) -> Result<Self, StoreError> {
        if let Some(path) = address.strip_prefix("file://") {
            return Self::folder(PathBuf::from(path));
        }
        if let Some(rest) = address.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            return Self::bucket(bucket, prefix);
        }
        Err(invalid_url())
    }

    /// Opens a folder, making it where there is none.
    ///
    /// # Errors
    /// When the path is not absolute, or the folder cannot be made.
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

    /// The place of a key, which must be one that we make.
    fn object_path(&self, key: &str) -> Result<Path, StoreError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let sound = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed);
        if key.len() > MAX_KEY || !key.split('/').all(sound) {
            return Err(StoreError::Fatal("a blob's key must be names of A-Z a-z 0-9 . _ - with / between".to_owned()));
        }
        Ok(self.prefix.parts().chain(Path::from(key).parts()).collect())
    }

    fn failed(&self, doing: &str, error: &object_store::Error) -> StoreError {
        StoreError::Unavailable(format!("{doing} in the {} failed: {error}", self.description))
    }

    /// The days of a kind.
    async fn days(&self, kind: BlobKind) -> Result<Vec<Path>, StoreError> {
        let path = self.object_path(kind.as_str())?;
        let listed = self.store.list_with_delimiter(Some(&path)).await;
        Ok(listed.map_err(|error| self.failed("listing blobs", &error))?.common_prefixes)
    }

    /// Deletes all blobs under a place, such as those of a day.
    async fn delete_under(&self, path: &Path) -> Result<u64, StoreError> {
        let failed = |error| self.failed("deleting blobs", &error);
        let paths = self.store.list(Some(path)).map_ok(|blob| blob.location).boxed();
        let deleted =
            self.store.delete_stream(paths).try_fold(0, async |count, _| Ok(count + 1)).await.map_err(failed)?;
        if let Some(folder) = &self.folder {
            // What is left are empty folders and what a kill left half written; should it stay, it is no blob.
            drop(tokio::fs::remove_dir_all(folder.join(path.as_ref())).await);
        }
        Ok(deleted)
    }
}

fn invalid_url() -> StoreError {
    StoreError::Fatal("SIGHTLINE_BLOB_URL must be file:///absolute/path or s3://bucket/prefix".to_owned())
}

#[async_trait]
impl Blobs for ObjectBlobs {
    fn describe(&self) -> String {
        self.description.clone()
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<(), StoreError> {
        let path = self.object_path(key)?;
        let store =
            if key.split('/').next() == Some(BlobKind::Inbox.as_str()) { &self.synced_store } else { &self.store };
        store.put(&path, content.into()).await.map_err(|error| self.failed("storing a blob", &error))?;
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let path = self.object_path(key)?;
        let read = async { self.store.get(&path).await?.bytes().await };
        match read.await {
            // What a power cut left of a blob that was not on the disk yet.
            Ok(content) if content.is_empty() => Ok(None),
            Ok(content) => Ok(Some(content)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("reading a blob", &error)),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.object_path(key)?;
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("deleting a blob", &error)),
        }
    }

    async fn sweep(&self, kind: BlobKind, age: Duration) -> Result<u64, StoreError> {
        let mut swept = 0;
        for day in self.days(kind).await? {
            if day.filename().is_some_and(|name| ended_longer_ago(name, age, Timestamp::now())) {
                swept += self.delete_under(&day).await?;
            }
        }
        Ok(swept)
    }

    async fn delete_tenant(&self, kind: BlobKind, tenant: &TenantId) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for day in self.days(kind).await? {
            deleted += self.delete_under(&day.join(tenant.as_str())).await?;
        }
        Ok(deleted)
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.put(CHECK_KEY, Bytes::from_static(b"ok")).await
    }
}

/// Whether a folder's name is a day that ended longer than `age` before `now`. What is no day never did.
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
            // Ended on the 4th at midnight: six and a half days ago.
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

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        let folder = std::env::temp_dir().join(format!("sightline-keys-{}", std::process::id()));
        let blobs = ObjectBlobs::folder(folder.clone()).unwrap();
        for key in ["", "/", "a//b", "../a", "a/../b", "a/.", "/etc/passwd", "a\\b", "a b", "ü", "a%2e", "a\0", "a#1"]
        {
            assert!(matches!(blobs.object_path(key), Err(StoreError::Fatal(_))), "{key:?}");
        }
        assert!(blobs.object_path(&"a".repeat(513)).is_err());
        assert_eq!(blobs.object_path("frames/2026-01-02/shared/1").unwrap().as_ref(), "frames/2026-01-02/shared/1");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_invalid_url_error_names_the_setting() {
        for address in ["", "/tmp/x", "file://relative", "http://x/y", "s3://", "s3:///x", "gs://b/x"] {
            let refused = ObjectBlobs::open(address).err().map(|error| error.to_string());
            assert!(refused.is_some_and(|line| line.contains("SIGHTLINE_BLOB_URL")), "{address}");
        }
    }
}
