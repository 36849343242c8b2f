//! Frames that detectors have looked at.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::FrameId;
use contracts::api::{FrameView, Page, Problem};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use serde::Deserialize;
use store::{Cursor, FrameFilter, StoredResult};

use crate::app::App;
use crate::http::docs::Problems;
use crate::http::extract::{Id, MayRead, NoQuery, Strict, moment, page, parsed, span};
use crate::http::{ApiError, Routes};
use crate::probe::ImageType;
use crate::view;

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/frames", get(list)), ("/v1/frames/{id}", get(one)), ("/v1/frames/{id}/image", get(image))]
}

/// Which frames.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Captured then or later, in RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Captured before, in RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Of this stream.
    stream: Option<String>,
    /// Items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Asked {
    fn filter(&self) -> Result<FrameFilter, ApiError> {
        let (from, to) = (moment("from", self.from.as_deref())?, moment("to", self.to.as_deref())?);
        span(from, to)?;
        Ok(FrameFilter { from, to, stream: parsed(self.stream.as_deref())? })
    }
}

/// Frames with their results, newest first; those with nothing found included.
#[utoipa::path(
    get, path = "/v1/frames", tag = "frames", params(Asked),
    responses((status = 200, body = Page<FrameView>), Problems)
)]
pub async fn list(
    State(app): State<App>,
    reader: MayRead,
    Strict(asked): Strict<Asked>,
) -> Result<Json<Page<FrameView>>, ApiError> {
    let (page, limit) = page(asked.limit.as_deref(), asked.cursor.as_deref())?;
    let frames = app.documents.frames(&reader.scope(), &asked.filter()?, &page).await?;
    let more = frames.len() > limit;
    let items: Vec<FrameView> = frames.iter().take(limit).filter_map(|results| view::frame(events(results))).collect();
    let last = items.last().filter(|_| more);
    let next_cursor = last.map(|frame| Cursor { at: frame.captured_at, id: frame.frame_id.to_string() }.encode());
    Ok(Json(Page { items, next_cursor }))
}

/// One frame with the results there are.
#[utoipa::path(
    get, path = "/v1/frames/{id}", tag = "frames", params(("id" = FrameId, Path, description = "The frame's id")),
    responses(
        (status = 200, body = FrameView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No results, yet: Retry-After tells when to ask again"),
        Problems,
    )
)]
pub async fn one(
    State(app): State<App>,
    reader: MayRead,
    Id(id): Id<FrameId>,
    _: NoQuery,
) -> Result<Json<FrameView>, ApiError> {
    let results = app.documents.frame(&reader.scope(), id).await?;
    view::frame(events(&results)).map(Json).ok_or(ApiError::NotIndexed)
}

/// A frame's picture, while it is kept.
#[utoipa::path(
    get, path = "/v1/frames/{id}/image", tag = "frames", params(("id" = FrameId, Path, description = "The frame's id")),
    responses(
        (status = 200, description = "The picture as it was sent", content(
            (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "image/webp")
        )),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No results yet, or the picture is not kept"),
        Problems,
    )
)]
pub async fn image(
    State(app): State<App>,
    reader: MayRead,
    Id(id): Id<FrameId>,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let results = app.documents.frame(&reader.scope(), id).await?;
    if results.is_empty() {
        return Err(ApiError::NotIndexed);
    }
    let gone = || ApiError::NotFound("the picture of this frame is not kept, or no longer".to_owned());
    let key = view::image_key(events(&results)).ok_or_else(gone)?;
    let picture = app.blobs.get(key).await?.ok_or_else(gone)?;
    let media_type = ImageType::sniff(&picture).map_or("application/octet-stream", ImageType::media_type);
    // Private: a picture is for the caller, not for caches between.
    let headers =
        [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "private, max-age=3600"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, picture).into_response())
}

fn events(stored: &[StoredResult]) -> impl Iterator<Item = &contracts::ResultEvent> {
    stored.iter().map(|stored| &stored.result)
}
