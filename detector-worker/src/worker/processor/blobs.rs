//! A frame's image in the blob store: fetched from the inbox, kept under `frames/`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use consumer_kit::backoff;
use contracts::{BlobKey, BlobKind, FailureCode, FrameEvent};
use jiff::Timestamp;
use store::{Blobs, StoreError};
use vision::pipeline::Failure;

use crate::metrics;

/// Fetches the bytes of a frame that was too large for its message.
///
/// # Errors
/// The inner one when there is nothing to fetch: the key of another frame, or a deleted image. The outer one when the store refuses for
/// good.
pub async fn fetch(blobs: &dyn Blobs, frame: &FrameEvent, key: &BlobKey) -> anyhow::Result<Result<Bytes, Failure>> {
    // External producers may write to the topic. They must not read other frames or kept images by choosing a key.
    if !key.is_of(BlobKind::Inbox, &frame.tenant, frame.id) {
        let message = format!("{key} is not the key of this frame's image");
        return Ok(Err(Failure { code: FailureCode::Missing, message }));
    }
    let started = Instant::now();
    let fetched = retry("fetch", || blobs.get(key)).await?;
    metrics::stage("fetch", started.elapsed());
    let missing =
        || Failure { code: FailureCode::Missing, message: format!("the image {key} does not exist any more") };
    Ok(fetched.ok_or_else(missing))
}

/// Stores the image of a frame with detections and returns its key. With `of_strangers`, it is kept for this time only.
///
/// # Errors
/// The store refuses for good.
pub async fn keep(
    blobs: &dyn Blobs,
    frame: &FrameEvent,
    encoded: Bytes,
    of_strangers: Option<Duration>,
) -> anyhow::Result<BlobKey> {
    let (started, now) = (Instant::now(), Timestamp::now());
    let FrameEvent { id, tenant, retention, .. } = frame;
    let key = match of_strangers {
        Some(time) => {
            let end = now.checked_add(time).unwrap_or(Timestamp::MAX);
            BlobKey::of_image_until(end, now, *retention, tenant, *id)
        }
        None => BlobKey::of_kept_image(now, *retention, tenant, *id),
    };
    retry("keep", || blobs.put(&key, encoded.clone())).await?;
    metrics::stage("keep", started.elapsed());
    Ok(key)
}

/// Calls the blob store until it responds.
async fn retry<T, F>(what: &'static str, call: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = backoff::PROCESS;
    loop {
        match call().await {
            Ok(response) => return Ok(response),
            Err(StoreError::Fatal(reason)) => {
                anyhow::bail!("SIGHTLINE_BLOB_URL: the blob store refuses the request: {reason}")
            }
            Err(error) => {
                let pause = backoff.pause();
                tracing::warn!(%error, ?pause, "the blob store failed; retrying");
                metrics::retry(what);
                tokio::time::sleep(pause).await;
            }
        }
    }
}
