//! Settings of the media store.

use clap::Args;
use settings::Secret;

/// Settings of the media store. What is not set of an S3 service comes from the variables `AWS_*`, as for images.
#[derive(Debug, Clone, Args)]
pub struct MediaArgs {
    /// Store of audio files, previews and covers: file:///a/folder or s3://bucket/prefix
    #[arg(long, env = "SIGHTLINE_MEDIA_URL", value_name = "URL", value_parser = media_url)]
    pub media_url: Option<String>,

    /// Address of the S3 service of the media store, such as http://minio:9000; when not set, AWS_ENDPOINT, or AWS
    #[arg(long, env = "SIGHTLINE_MEDIA_S3_ENDPOINT", value_name = "URL", value_parser = endpoint)]
    pub media_s3_endpoint: Option<String>,

    /// Region of the bucket of the media store; when not set, AWS_REGION
    #[arg(long, env = "SIGHTLINE_MEDIA_S3_REGION", value_name = "NAME")]
    pub media_s3_region: Option<String>,

    /// Id of the key with which the media store signs its requests to S3; when not set, AWS_ACCESS_KEY_ID
    #[arg(long, env = "SIGHTLINE_MEDIA_S3_ACCESS_KEY_ID", value_name = "TEXT")]
    pub media_s3_access_key_id: Option<Secret>,

    /// The key itself; when not set, AWS_SECRET_ACCESS_KEY
    #[arg(long, env = "SIGHTLINE_MEDIA_S3_SECRET_ACCESS_KEY", value_name = "TEXT")]
    pub media_s3_secret_access_key: Option<Secret>,
}

impl MediaArgs {
    /// The settings of a store at this URL, and no other.
    pub fn of_url(url: &str) -> Self {
        Self {
            media_url: Some(url.to_owned()),
            media_s3_endpoint: None,
            media_s3_region: None,
            media_s3_access_key_id: None,
            media_s3_secret_access_key: None,
        }
    }
}

fn media_url(url: &str) -> Result<String, String> {
    let valid = url.starts_with("file:///")
        || url.strip_prefix("s3://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if valid { Ok(url.to_owned()) } else { Err("it must be file:///absolute/path or s3://bucket/prefix".to_owned()) }
}

fn endpoint(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains('@') => Ok(url.to_owned()),
        _ => Err("it must be the address of an S3 service, such as https://s3.example.org".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_url_is_a_folder_or_a_bucket_and_an_endpoint_has_no_password() {
        for valid in ["file:///var/lib/media", "s3://bucket", "s3://bucket/prefix"] {
            assert!(media_url(valid).is_ok(), "{valid}");
        }
        for wrong in ["", "x", "file://relative", "s3://", "s3:///prefix", "http://host/"] {
            assert!(media_url(wrong).is_err(), "{wrong}");
        }
        assert!(endpoint("http://minio:9000").is_ok());
        for wrong in ["", "minio:9000", "https://", "https://key:secret@host"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
