//! Opens a bucket.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::path::Path;
use object_store::{ClientConfigKey, RetryConfig, StaticCredentialProvider};

use super::MediaBucket;
use crate::StoreError;
use crate::media::{MediaArgs, invalid_url};
use crate::object_blobs::http;

/// Time limit for all retries of one request. Sending a part may take seconds.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence of a bucket that makes an object of its parts.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

impl MediaBucket {
    /// Opens a bucket below a prefix. Sends no request.
    pub(in crate::media) fn open(bucket: &str, prefix: &str, args: &MediaArgs) -> Result<Self, StoreError> {
        if bucket.is_empty() {
            return Err(invalid_url());
        }
        let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|_| invalid_url())?;
        let failed =
            |error: &dyn Display| StoreError::Fatal(format!("the media bucket {bucket} cannot be used: {error}"));
        let builder = with_settings(AmazonS3Builder::from_env().with_bucket_name(bucket), args)?;
        let allowed = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
        let plain = allowed.is_some_and(|allowed| allowed == "true");
        let retry = RetryConfig { max_retries: 3, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let builder = builder.with_http_connector(http::ReqwestConnector).with_retry(retry);
        let store = builder.build().map_err(|error| failed(&error))?;
        let client = http::client(plain, LONGEST_SILENCE).map_err(|error| failed(&error))?;
        let description = format!("S3 bucket {bucket}, keys under \"{prefix}\"");
        Ok(Self { store, client, prefix, description })
    }
}

/// What the settings say goes before the variables `AWS_*`.
fn with_settings(mut builder: AmazonS3Builder, args: &MediaArgs) -> Result<AmazonS3Builder, StoreError> {
    if let Some(endpoint) = &args.media_s3_endpoint {
        let plain = endpoint.starts_with("http://");
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint).with_allow_http(plain);
    }
    if let Some(region) = &args.media_s3_region {
        builder = builder.with_region(region);
    }
    match (&args.media_s3_access_key_id, &args.media_s3_secret_access_key) {
        (Some(id), Some(key)) => {
            // Not `with_access_key_id`, which would go with a session token of the environment.
            let (key_id, secret_key) = (id.expose().to_owned(), key.expose().to_owned());
            let key = AwsCredential { key_id, secret_key, token: None };
            Ok(builder.with_credentials(Arc::new(StaticCredentialProvider::new(key))))
        }
        (None, None) => Ok(builder),
        _ => Err(StoreError::Fatal(
            "set both SIGHTLINE_MEDIA_S3_ACCESS_KEY_ID and SIGHTLINE_MEDIA_S3_SECRET_ACCESS_KEY, or neither".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_key_is_refused_with_the_names_of_both_settings() {
        let id = "id".parse().ok();
        let args = MediaArgs { media_s3_access_key_id: id, ..MediaArgs::of_url("s3://bucket") };
        let refused = MediaBucket::open("bucket", "", &args).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|line| line.contains("SIGHTLINE_MEDIA_S3_SECRET_ACCESS_KEY")));
    }
}
