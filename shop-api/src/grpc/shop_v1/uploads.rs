//! Uploads of recordings.

use api_kit::error::{ApiError, RequestError};
use bytes::Bytes;
use contracts::api::NewBookBody;
use contracts::{BookId, BookStatus, CategorySlug, Currency};
use futures::{Stream, StreamExt};
use tonic::{Request, Streaming};

use super::convert::{audiobook, audiobook_at, upload_link};
use super::request::{given, invalid, parsed, price, viewer, wait};
use crate::app::{App, ForcedStatus, NewUpload};
use crate::grpc::stream_error;
use crate::proto::shop_v1::upload_chunk::Payload;
use crate::proto::shop_v1::{
    AiProvider, CompleteUploadRequest, CompleteUploadResponse, CreateUploadUrlRequest, CreateUploadUrlResponse,
    GetUploadUrlRequest, MediaStatus, UploadAudiobookResponse, UploadChunk, UploadHeader,
};

/// A book, its recording and the work that follows, in one call.
pub async fn upload(app: &App, request: Request<Streaming<UploadChunk>>) -> Result<UploadAudiobookResponse, ApiError> {
    let (viewer, wait) = (viewer(&request)?, wait(&request));
    let mut chunks = request.into_inner();
    let first = chunks.message().await.map_err(|status| stream_error(&status))?;
    let Some(UploadChunk { payload: Some(Payload::Header(header)) }) = first else {
        return Err(RequestError::Malformed("the first message of an upload must be its header".to_owned()).into());
    };
    let upload = of_header(header, app.currency)?;
    let book = app.upload(&viewer, upload, data(chunks), wait).await?;
    Ok(UploadAudiobookResponse { book: Some(audiobook(book)) })
}

/// The bytes of the messages after the header.
fn data(chunks: Streaming<UploadChunk>) -> impl Stream<Item = Result<Bytes, ApiError>> + Send + Unpin + 'static {
    chunks.map(|chunk| match chunk {
        Ok(UploadChunk { payload: Some(Payload::Data(data)) }) => Ok(data),
        Ok(UploadChunk { payload: None }) => Ok(Bytes::new()),
        Ok(UploadChunk { payload: Some(Payload::Header(_)) }) => {
            Err(RequestError::Malformed("only the first message of an upload is a header".to_owned()).into())
        }
        Err(status) => Err(stream_error(&status)),
    })
}

/// A draft, and the address that takes its recording.
pub async fn create_link(
    app: &App,
    request: Request<CreateUploadUrlRequest>,
) -> Result<CreateUploadUrlResponse, ApiError> {
    let viewer = viewer(&request)?;
    let sent = request.into_inner();
    let header = UploadHeader {
        title: sent.title,
        author: sent.author,
        price_cents: sent.price_cents,
        filename: sent.filename,
        content_type: sent.content_type,
        currency: sent.currency,
        language: sent.language,
        description: sent.description,
        categories: sent.categories,
    };
    let upload = of_header(header, app.currency)?;
    Ok(upload_link(app.create_upload(&viewer, upload).await?))
}

/// A further address for the recording of a book.
pub async fn further_link(
    app: &App,
    request: Request<GetUploadUrlRequest>,
) -> Result<CreateUploadUrlResponse, ApiError> {
    let viewer = viewer(&request)?;
    let book: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    Ok(upload_link(app.upload_link(&viewer, book).await?))
}

/// Ends the upload of a book, does a step of the work on it again, or gives it another status.
pub async fn complete(app: &App, request: Request<CompleteUploadRequest>) -> Result<CompleteUploadResponse, ApiError> {
    let (viewer, wait) = (viewer(&request)?, wait(&request));
    let CompleteUploadRequest { audiobook_id, ai_provider, force_status } = request.into_inner();
    let book: BookId = parsed("audiobook_id", &audiobook_id)?;
    let provider = AiProvider::try_from(ai_provider).map_err(|_| invalid("ai_provider", "there is no such group"))?;
    let status = MediaStatus::try_from(force_status).map_err(|_| invalid("force_status", "there is no such status"))?;
    let done = app.complete_upload(&viewer, book, forced(status), Some(group(provider).to_owned()), wait).await?;
    let step = app.step(book).await;
    Ok(CompleteUploadResponse { book: Some(audiobook_at(done, step)) })
}

/// The group of providers that the reference system's enum stands for; empty: as configured.
const fn group(provider: AiProvider) -> &'static str {
    match provider {
        AiProvider::None => "",
        AiProvider::Aws => "cloud",
        AiProvider::Local => "local",
    }
}

const fn forced(status: MediaStatus) -> ForcedStatus {
    match status {
        MediaStatus::Unspecified | MediaStatus::MediaProcessingAudio => ForcedStatus::Audio,
        MediaStatus::MediaProcessingTranscript => ForcedStatus::Transcript,
        MediaStatus::MediaProcessingSummary => ForcedStatus::Summary,
        MediaStatus::MediaReady => ForcedStatus::Status(BookStatus::Ready),
        MediaStatus::MediaHide => ForcedStatus::Status(BookStatus::Hidden),
        MediaStatus::MediaDeteted => ForcedStatus::Status(BookStatus::Deleted),
    }
}

fn of_header(header: UploadHeader, of_shop: Currency) -> Result<NewUpload, ApiError> {
    let UploadHeader { title, author, price_cents, filename, content_type, .. } = header;
    let book = NewBookBody {
        title,
        author,
        price: price(Some(price_cents), &header.currency, of_shop)?,
        language: given(header.language),
        description: given(header.description),
        categories: categories(&header.categories)?,
    };
    Ok(NewUpload { book, file_name: filename, content_type })
}

/// The categories of a book.
///
/// # Errors
/// When one cannot be the name of a category.
pub fn categories(slugs: &[String]) -> Result<Vec<CategorySlug>, ApiError> {
    slugs.iter().map(|slug| parsed("categories", slug)).collect()
}
