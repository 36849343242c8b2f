//! Transcripts, and the search in them, for those who have bought the book and for admins.

use std::convert::Infallible;

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId, StrictQuery};
use api_kit::routes;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::api::{Page, PassageView, Problem};
use contracts::{BookId, Transcript, TranscriptFormat};
use futures::stream::{self, Stream};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use platform::query::{Invalid, Parameters, Query};
use store::attachment;
use tokio::sync::OwnedSemaphorePermit;

use super::Routes;
use super::auth::ShopUser;
use crate::Viewer;
use crate::app::{App, DEFAULT_PASSAGES, MAX_PASSAGES, TranscriptFile};

/// Bytes of a transcript that are sent at once.
const PIECE: usize = 64 << 10;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![json, text, captions, subtitles, search]
}

/// The query of a search in a book.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// What to look for, in any words.
    #[param(value_type = String)]
    q: String,
    /// Most places.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 50, default = 10)]
    limit: u32,
}

impl Parameters for SearchQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let q = query.text("q")?.filter(|words| !words.trim().is_empty());
        let q = q.ok_or_else(|| Invalid("q must say what to look for".to_owned()))?;
        let limit = match query.text("limit")? {
            None => DEFAULT_PASSAGES,
            Some(text) => text
                .parse::<u32>()
                .ok()
                .filter(|number| (1..=MAX_PASSAGES).contains(number))
                .ok_or_else(|| Invalid(format!("limit must be a whole number from 1 to {MAX_PASSAGES}")))?,
        };
        Ok(Self { q, limit })
    }
}

async fn file(app: &App, viewer: &Viewer, id: BookId, format: TranscriptFormat) -> Result<Response, ApiError> {
    let TranscriptFile { format, name, content, unread } = app.transcript(viewer, id, format).await?;
    // A name that cannot be a header has none; its characters are encoded, so there is no such name.
    let disposition = HeaderValue::try_from(attachment(&name)).unwrap_or(HeaderValue::from_static("attachment"));
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(format.media_type())),
        (CONTENT_DISPOSITION, disposition),
        (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    Ok((headers, Body::from_stream(pieces(content, unread))).into_response())
}

/// A text in pieces. Its share of the memory is held until the client has read nearly all of it.
fn pieces(
    content: String,
    unread: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    stream::unfold((Bytes::from(content), unread), |(mut rest, unread)| async move {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(rest.len().min(PIECE));
        Some((Ok::<_, Infallible>(piece), (rest, unread)))
    })
}

/// The transcript with its times, as JSON.
#[utoipa::path(
    get, path = "/v1/books/{id}/transcript.json", operation_id = "get_transcript", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = Transcript),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`not_bought`: the caller has not bought the book"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id; `no_transcript`: it has no transcript yet"),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn json(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Response, ApiError> {
    file(&app, &viewer, id, TranscriptFormat::Json).await
}

/// The words of the transcript, a segment a line.
#[utoipa::path(
    get, path = "/v1/books/{id}/transcript.txt", operation_id = "get_transcript_text", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`not_bought`: the caller has not bought the book"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id; `no_transcript`: it has no transcript yet"),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn text(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Response, ApiError> {
    file(&app, &viewer, id, TranscriptFormat::Txt).await
}

/// The transcript as WebVTT.
#[utoipa::path(
    get, path = "/v1/books/{id}/transcript.vtt", operation_id = "get_transcript_captions", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = String, content_type = "text/vtt"),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`not_bought`: the caller has not bought the book"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id; `no_transcript`: it has no transcript yet"),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn captions(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Response, ApiError> {
    file(&app, &viewer, id, TranscriptFormat::Vtt).await
}

/// The transcript as SubRip.
#[utoipa::path(
    get, path = "/v1/books/{id}/transcript.srt", operation_id = "get_transcript_subtitles", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = String, content_type = "application/x-subrip"),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`not_bought`: the caller has not bought the book"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id; `no_transcript`: it has no transcript yet"),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn subtitles(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Response, ApiError> {
    file(&app, &viewer, id, TranscriptFormat::Srt).await
}

/// Places in a book by what is meant, the closest first: `start_ms` is where to go on listening.
#[utoipa::path(
    get, path = "/v1/books/{id}/search", operation_id = "search_book", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id"), SearchQuery),
    responses(
        (status = 200, body = Page<PassageView>),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`not_bought`: the caller has not bought the book"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id; `no_transcript`: it has no transcript yet"),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn search(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<BookId>,
    StrictQuery(SearchQuery { q, limit }): StrictQuery<SearchQuery>,
) -> Result<Json<Page<PassageView>>, ApiError> {
    Ok(Json(Page { items: app.search(&viewer, id, q, limit).await?, next_cursor: None }))
}
