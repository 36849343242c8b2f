//! Ends uploads in the database and in the media store.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::UploadId;
use jiff::Timestamp;

use crate::StoreError;
use crate::media::Media;
use crate::relational::{MediaUploadState, Relational};

/// Maximum number of uploads that one sweep ends.
const BATCH: u32 = 100;
/// An unfinished object without a row is ended after this time. It is longer than the time between the beginning of an object and its row.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Ends an upload: its row, its parts, its tails, and its object unless a book has that. `false` if there is none.
///
/// The object of a complete one is left to the task that deletes what no book has, because a book may be getting it. The row goes last, so that
/// a sweep ends what a crash or a failure left.
///
/// # Errors
/// When the database or the media store fails.
pub async fn end_media_upload(database: &Relational, media: &dyn Media, id: UploadId) -> Result<bool, StoreError> {
    let now = Timestamp::now();
    let Some(upload) = database.expire_media_upload(id, now).await? else { return Ok(false) };
    if let (MediaUploadState::Open, Some(multipart)) = (upload.state, &upload.multipart) {
        media.abort(&upload.key, multipart).await?;
        // Its object may have been made just before a crash.
        media.delete(&upload.key).await?;
    }
    database.drop_media_upload(id, now).await
}

/// Ends expired uploads, and unfinished objects that no upload has. Returns the number of both; call it regularly.
///
/// What a bucket has is listed, so also an object is ended whose row was lost. An upload that fails does not keep others from being ended.
///
/// # Errors
/// The first failure of the database or of the media store.
pub async fn sweep_media(database: &Relational, media: &dyn Media, now: Timestamp) -> Result<u64, StoreError> {
    let mut ended = 0;
    let mut failed = None;
    for id in database.expired_media_uploads(now, BATCH).await? {
        match end_media_upload(database, media, id).await {
            Ok(known) => ended += u64::from(known),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    // Read before the store: an upload that begins in between is younger than the grace.
    let keep: BTreeSet<_> = database.media_upload_keys().await?.into_iter().collect();
    ended += media.sweep_unfinished(GRACE, &keep).await?;
    failed.map_or(Ok(ended), Err)
}
