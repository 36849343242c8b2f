//! A frame's image in the blob store: fetched from the inbox, kept under `frames/`.

use std::time::Instant;

use bytes::Bytes;
use consumer_kit::backoff;
use contracts::{BlobKey, BlobKind, FailureCode, FrameEvent};
use jiff::Timestamp;
use store::{Blobs, StoreError};

use crate::metrics;
use crate::pipeline::Failure;

/// Fetches the bytes of a frame that was too large for its message.
///
/// # Errors
/// The inner one when there is nothing to fetch: a foreign key, or a deleted image. The outer one when the store refuses for
/// good.
pub async fn fetch(blobs: &dyn Blobs, frame: &FrameEvent, key: &str) -> anyhow::Result<Result<Bytes, Failure>> {
    // Anybody may write to the topic: a producer must not read other frames or kept images by a key of its choice.
    let of_frame = |key: BlobKey| key.is_of(BlobKind::Inbox, &frame.tenant, frame.id);
    if !key.parse().is_ok_and(of_frame) {
        let message = format!("{key:?} is no key of a frame's image");
        return Ok(Err(Failure { code: FailureCode::Missing, message }));
    }
    let started = Instant::now();
    let fetched = retry("fetch", || blobs.get(key)).await?;
    metrics::stage("fetch", started.elapsed());
    let missing = || Failure { code: FailureCode::Missing, message: format!("the image {key} is gone") };
    Ok(fetched.ok_or_else(missing))
}

/// Stores the image of a frame with detections and returns its key.
///
/// # Errors
/// The store refuses for good.
pub async fn keep(blobs: &dyn Blobs, frame: &FrameEvent, encoded: Bytes) -> anyhow::Result<String> {
    let started = Instant::now();
    let key = BlobKey::new(BlobKind::Frames, Timestamp::now(), &frame.tenant, frame.id).to_string();
    retry("keep", || blobs.put(&key, encoded.clone())).await?;
    metrics::stage("keep", started.elapsed());
    Ok(key)
}

/// Calls the blob store until it answers.
async fn retry<T, F>(what: &'static str, call: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = backoff::PROCESS;
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(StoreError::Fatal(reason)) => anyhow::bail!("SIGHTLINE_BLOB_URL: the blob store refuses: {reason}"),
            Err(error) => {
                let pause = backoff.pause();
                tracing::warn!(%error, ?pause, "the blob store failed; retrying");
                metrics::retry(what);
                tokio::time::sleep(pause).await;
            }
        }
    }
}
