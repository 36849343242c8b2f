//! Transcripts, and the search in them. Both need the audio pipeline, which this version does not have.

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId, StrictQuery};
use api_kit::routes;
use axum::Json;
use contracts::BookId;
use contracts::api::Problem;
use platform::query::{Invalid, Parameters, Query};

use super::Routes;
use super::auth::ShopUser;
use crate::app::pipeline::not_built;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![json, text, captions, subtitles, search]
}

/// The query of a search in a book.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// What to look for.
    #[param(value_type = String)]
    q: Option<String>,
}

impl Parameters for SearchQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let q = query.text("q")?;
        if q.as_ref().is_none_or(|words| words.trim().is_empty()) {
            return Err(Invalid("q must say what to look for".to_owned()));
        }
        Ok(Self { q })
    }
}

/// The transcript with its times.
#[utoipa::path(
    get, path = "/v1/books/{id}/transcript.json", operation_id = "get_transcript", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn json(_: ShopUser, _: PathId<BookId>, _: NoQuery) -> Result<Json<Problem>, ApiError> {
    Err(not_built("transcript"))
}

/// The transcript as text.
#[utoipa::path(
    get, path = "/v1/books/{id}/transcript.txt", operation_id = "get_transcript_text", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn text(_: ShopUser, _: PathId<BookId>, _: NoQuery) -> Result<Json<Problem>, ApiError> {
    Err(not_built("transcript"))
}

/// The transcript as WebVTT.
#[utoipa::path(
    get, path = "/v1/books/{id}/transcript.vtt", operation_id = "get_transcript_captions", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn captions(_: ShopUser, _: PathId<BookId>, _: NoQuery) -> Result<Json<Problem>, ApiError> {
    Err(not_built("transcript"))
}

/// The transcript as SubRip.
#[utoipa::path(
    get, path = "/v1/books/{id}/transcript.srt", operation_id = "get_transcript_subtitles", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn subtitles(_: ShopUser, _: PathId<BookId>, _: NoQuery) -> Result<Json<Problem>, ApiError> {
    Err(not_built("transcript"))
}

/// Places in a book, by what is said there.
#[utoipa::path(
    get, path = "/v1/books/{id}/search", operation_id = "search_book", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id"), SearchQuery),
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn search(
    _: ShopUser,
    _: PathId<BookId>,
    StrictQuery(SearchQuery { q }): StrictQuery<SearchQuery>,
) -> Result<Json<Problem>, ApiError> {
    tracing::debug!(words = q.map_or(0, |words| words.split_whitespace().count()), "a search in a book");
    Err(not_built("search in a book"))
}
