//! A frame's image in the blob store: fetched from the inbox, kept under `frames/`.

use std::time::Instant;

use bytes::Bytes;
use contracts::{FailureCode, FrameEvent};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use store::{Blobs, StoreError};

use super::backoff;
use crate::meters;
use crate::pipeline::Failure;

/// Fetches the bytes of a frame that was too large for its message.
///
/// # Errors
/// The inner one when there is nothing to fetch: a foreign key, or a deleted image. The outer one when the store refuses for
/// good.
pub async fn fetch(blobs: &dyn Blobs, key: &str) -> anyhow::Result<Result<Bytes, Failure>> {
    if !is_inbox_key(key) {
        let message = format!("{key:?} is no key of a frame's image");
        return Ok(Err(Failure { code: FailureCode::Missing, message }));
    }
    let started = Instant::now();
    let fetched = retry("fetch", || blobs.get(key)).await?;
    meters::stage("fetch", started.elapsed());
    let missing = || Failure { code: FailureCode::Missing, message: format!("the image {key} is gone") };
    Ok(fetched.ok_or_else(missing))
}

/// Stores the image of a frame with detections and returns its key.
///
/// # Errors
/// The store refuses for good.
pub async fn keep(blobs: &dyn Blobs, frame: &FrameEvent, encoded: Bytes) -> anyhow::Result<String> {
    let started = Instant::now();
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let key = format!("frames/{today}/{}/{}", frame.tenant, frame.id);
    retry("keep", || blobs.put(&key, encoded.clone())).await?;
    meters::stage("keep", started.elapsed());
    Ok(key)
}

/// Whether a key can be one that ingest-api wrote. A producer that is not ours must neither read kept images by a key of its
/// choice nor end the worker by a key that the store refuses.
fn is_inbox_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let valid = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed);
    key.len() <= 256 && key.starts_with("inbox/") && key.split('/').all(valid)
}

/// Calls the blob store until it answers.
async fn retry<T, F>(what: &'static str, call: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = backoff();
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(StoreError::Fatal(reason)) => anyhow::bail!("SIGHTLINE_BLOB_URL: the blob store refuses: {reason}"),
            Err(error) => {
                let pause = backoff.pause();
                tracing::warn!(%error, ?pause, "the blob store failed; retrying");
                meters::retry(what);
                tokio::time::sleep(pause).await;
            }
        }
    }
}
