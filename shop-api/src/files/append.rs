//! Appends the body of one request to an upload.
//!
//! In: a body, and what its request says about it. Out: the durable offset. Guarantees: the memory of all uploads together, and of those of
//! one user, is bounded; what arrived before a cut is stored; the work ends in order if the client goes away, because it has a task of its
//! own.

use std::pin::pin;
use std::time::Duration;

use api_kit::error::{ApiError, ServiceError};
use api_kit::shares::Units;
use api_kit::upload::BodyError;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use platform::http::TooSlow;
use shop::Shop;
use store::MediaUploadRecord;

use super::Files;
use super::tus::Checksum;
use super::writer::{Commit, PART, Writer};

/// Maximum pause between two pieces of a body.
const IDLE: Duration = Duration::from_secs(60);

/// What a request says about the bytes that it appends.
pub struct Appended {
    /// Bytes before the body.
    pub offset: u64,
    /// Bytes of the whole upload, if the request tells them.
    pub length: Option<u64>,
    /// Bytes of the body, if they are declared.
    pub declared: Option<u64>,
    /// When the bytes count.
    pub commit: Commit,
    /// The checksum of the body. Then all bytes count at the end.
    pub checksum: Option<Checksum>,
}

impl Files {
    /// Appends a body to an upload. Returns the durable offset.
    ///
    /// # Errors
    /// When the upload does not go on there, the body is too long, too slow, cut or has another checksum; too many bodies arrive at the same
    /// time; or a store fails.
    pub async fn append<S>(&self, upload: &MediaUploadRecord, what: Appended, body: S) -> Result<u64, ApiError>
    where
        S: Stream<Item = Result<Bytes, ApiError>> + Send + 'static,
    {
        let (memory, shop, upload) = (self.memory_for(upload, what.declared)?, self.shop().clone(), upload.clone());
        let appending = tokio::spawn(append(shop, upload, what, body, memory));
        appending.await.map_err(|error| ServiceError::Internal(error.into()))?
    }

    /// The memory of a writer, which the user of the upload must have left.
    fn memory_for(&self, upload: &MediaUploadRecord, declared: Option<u64>) -> Result<Units, BodyError> {
        let expected = declared.map(|bytes| usize::try_from(bytes.saturating_add(upload.tail)).unwrap_or(PART));
        let owner = upload.owner.map(|owner| owner.to_string());
        Ok(self.upload_memory().take(owner.as_deref(), expected.unwrap_or(PART).min(PART))?)
    }
}

async fn append<S>(
    shop: Shop,
    upload: MediaUploadRecord,
    what: Appended,
    body: S,
    memory: Units,
) -> Result<u64, ApiError>
where
    S: Stream<Item = Result<Bytes, ApiError>> + Send,
{
    let Appended { offset, length, declared, commit, mut checksum } = what;
    let commit = if checksum.is_some() { Commit::AtClose } else { commit };
    let mut writer = Writer::begin(&shop, upload.id, offset, length, commit).await?;
    writer.check_room(declared.unwrap_or(0))?;
    let mut body = pin!(body);
    while let Some(piece) = next(&mut body).await {
        match piece {
            Ok(bytes) => {
                if let Some(checksum) = &mut checksum {
                    checksum.update(&bytes);
                }
                writer.write(bytes).await?;
            }
            Err(error) => return Err(cut(writer, commit, error).await),
        }
    }
    if let Some(checksum) = checksum {
        checksum.check()?;
    }
    let stored = writer.close().await;
    drop(memory);
    stored
}

/// The next piece of a body, in time.
async fn next<S>(body: &mut S) -> Option<Result<Bytes, ApiError>>
where
    S: Stream<Item = Result<Bytes, ApiError>> + Unpin,
{
    let next = tokio::time::timeout(IDLE, body.next()).await;
    next.unwrap_or_else(|_| Some(Err(BodyError::TooSlow.into())))
}

/// Stores what arrived before a cut, unless nothing counts before the end. Returns the error of the request.
async fn cut(writer: Writer, commit: Commit, error: ApiError) -> ApiError {
    if commit == Commit::EachPart
        && let Err(failed) = writer.close().await
    {
        return failed;
    }
    error
}

/// The body of an HTTP request in pieces.
pub fn pieces(body: axum::body::Body) -> impl Stream<Item = Result<Bytes, ApiError>> + Send + 'static {
    let error = |error: axum::Error| {
        let cause = if TooSlow::caused(&error) { BodyError::TooSlow } else { BodyError::Incomplete };
        ApiError::from(cause)
    };
    body.into_data_stream().map(move |piece| piece.map_err(error))
}
