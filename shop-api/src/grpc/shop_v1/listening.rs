//! What buyers do with their books.

use api_kit::error::ApiError;
use contracts::api::{DownloadView, PositionBody, PositionView};
use contracts::{BookId, TranscriptFormat};
use tonic::Request;

use super::request::{invalid, parsed, viewer};
use crate::app::{App, TranscriptFile};
use crate::proto::shop_v1::{
    GetDownloadUrlRequest, GetDownloadUrlResponse, GetPositionRequest, GetPositionResponse, GetTranscriptRequest,
    GetTranscriptResponse, PutPositionRequest, PutPositionResponse,
};
use crate::proto::{time, timestamp};

/// A link to the recording.
pub async fn download(app: &App, request: Request<GetDownloadUrlRequest>) -> Result<GetDownloadUrlResponse, ApiError> {
    let viewer = viewer(&request)?;
    let book: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    let DownloadView { download_url, expires_at } = app.download(&viewer, book).await?;
    Ok(GetDownloadUrlResponse { download_url, expires_at: Some(timestamp(expires_at)) })
}

/// The words of the transcript.
pub async fn transcript(app: &App, request: Request<GetTranscriptRequest>) -> Result<GetTranscriptResponse, ApiError> {
    let viewer = viewer(&request)?;
    let book: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    let TranscriptFile { content, .. } = app.transcript(&viewer, book, TranscriptFormat::Txt).await?;
    Ok(GetTranscriptResponse { transcript: content })
}

/// Where the caller stopped.
pub async fn position(app: &App, request: Request<GetPositionRequest>) -> Result<GetPositionResponse, ApiError> {
    let viewer = viewer(&request)?;
    let book: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    let (position_ms, event_time) = wire(app.position(&viewer, book).await?);
    Ok(GetPositionResponse { position_ms, event_time })
}

/// Remembers where the caller is.
pub async fn put_position(app: &App, request: Request<PutPositionRequest>) -> Result<PutPositionResponse, ApiError> {
    let viewer = viewer(&request)?;
    let PutPositionRequest { audiobook_id, position_ms, event_time } = request.into_inner();
    let book: BookId = parsed("audiobook_id", &audiobook_id)?;
    let position_ms = u64::try_from(position_ms).map_err(|_| invalid("position_ms", "must not be negative"))?;
    let no_time = || invalid("event_time", "must be a time before the year 9999");
    let event_time = event_time.map(|sent| time(&sent).ok_or_else(no_time)).transpose()?;
    let (position_ms, event_time) =
        wire(app.put_position(&viewer, book, PositionBody { position_ms, event_time }).await?);
    Ok(PutPositionResponse { position_ms, event_time })
}

/// A position as messages have it. Before the first event there is no time.
fn wire(PositionView { position_ms, event_time }: PositionView) -> (i64, Option<prost_types::Timestamp>) {
    (i64::try_from(position_ms).unwrap_or(i64::MAX), event_time.map(timestamp))
}
