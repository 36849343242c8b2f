//! Frames that detectors have looked at.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::FrameId;
use contracts::api::{FrameView, Page, Problem};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use store::{Cursor, FrameFilter, StoredResult};

use crate::app::App;
use crate::http::docs::{Image, Problems};
use crate::http::extract::{Id, Listed, MayRead, NoQuery, Strict};
use crate::http::{ApiError, Routes};
use crate::probe::ImageType;
use crate::view;

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/frames", get(list)), ("/v1/frames/{id}", get(one)), ("/v1/frames/{id}/image", get(image))]
}

/// Frames with their results, newest first; those with nothing found included.
#[utoipa::path(
    get, path = "/v1/frames", operation_id = "list_frames", security(("oauth2" = ["detections:read"]), ("bearer" = [])), tag = "frames", params(Listed),
    responses((status = 200, body = Page<FrameView>), Problems)
)]
pub async fn list(
    State(app): State<App>,
    reader: MayRead,
    Strict(listed): Strict<Listed>,
) -> Result<Json<Page<FrameView>>, ApiError> {
    let filter = FrameFilter { from: listed.from, to: listed.to, stream: listed.stream.clone() };
    let frames = app.documents.frames(&reader.scope(), &filter, &listed.asked()).await?;
    let items = frames.iter().filter_map(|results| view::frame(events(results))).collect();
    Ok(Json(listed.page(items, |last| Cursor { at: last.captured_at, id: last.frame_id.to_string() })))
}

/// One frame with the results there are.
#[utoipa::path(
    get, path = "/v1/frames/{id}", operation_id = "get_frame", security(("oauth2" = ["detections:read"]), ("bearer" = [])), tag = "frames", params(("id" = FrameId, Path, description = "The frame's id")),
    responses(
        (status = 200, body = FrameView),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_indexed`: no results, or none yet: Retry-After tells when to ask again",
            headers(("Retry-After" = u32, description = "Seconds"))),
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

/// A frame's image, while it is kept.
#[utoipa::path(
    get, path = "/v1/frames/{id}/image", operation_id = "get_frame_image", security(("oauth2" = ["detections:read"]), ("bearer" = [])), tag = "frames", params(("id" = FrameId, Path, description = "The frame's id")),
    responses(
        (status = 200, description = "The image as it was sent", content(
            (Image = "image/jpeg"), (Image = "image/png"), (Image = "image/webp")
        )),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_indexed`: no results yet; `not_found`: the image is not kept, or no longer",
            headers(("Retry-After" = Option<u32>, description = "Seconds, where there may be one soon"))),
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
    let gone = || ApiError::NotFound("the image of this frame is not kept, or no longer".to_owned());
    let key = view::image_key(events(&results)).ok_or_else(gone)?;
    let image = app.blobs.get(key).await?.ok_or_else(gone)?;
    let media_type = ImageType::sniff(&image).map_or("application/octet-stream", ImageType::media_type);
    // Private: an image is for the caller, not for caches between.
    let headers =
        [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "private, max-age=3600"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, image).into_response())
}

fn events(stored: &[StoredResult]) -> impl Iterator<Item = &contracts::ResultEvent> {
    stored.iter().map(|stored| &stored.result)
}
