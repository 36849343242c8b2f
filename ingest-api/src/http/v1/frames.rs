//! Frames with their results and images.

pub mod submit;

mod content_type;
mod error;
mod image_body;
mod prefer;

use api_kit::auth::Authorized;
use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId, StrictQuery};
use api_kit::routes;
use api_kit::scope::DetectionsRead;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::FrameId;
use contracts::api::{FrameView, Page, Problem};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use store::{FrameFilter, List, PageCursor, PageRequest, StoredResult};

use crate::http::Routes;
use crate::http::app::App;
use crate::http::extract::ListQuery;
use crate::http::v1::{subject_names, view};
use crate::probe::ImageType;
use error::FrameError;
use submit::ImageBytes;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, one, image]
}

/// Frames with their results, newest first, including those without detections.
#[utoipa::path(
    get, path = "/v1/frames", operation_id = "list_frames", tag = "frames", params(ListQuery),
    responses((status = 200, body = Page<FrameView>))
)]
pub async fn list(
    State(app): State<App>,
    caller: Authorized<DetectionsRead>,
    StrictQuery(listed): StrictQuery<ListQuery>,
) -> Result<Json<Page<FrameView>>, ApiError> {
    let filter = FrameFilter { from: listed.from, to: listed.to, stream: listed.stream.clone() };
    let scope = caller.tenant_scope();
    let read = |page: PageRequest| {
        let (documents, scope, filter) = (&app.documents, &scope, &filter);
        async move {
            let frames = documents.frames(scope, filter, &page).await?;
            Ok::<Vec<_>, ApiError>(frames.iter().filter_map(|results| view::frame(events(results))).collect())
        }
    };
    let position = |last: &FrameView| PageCursor { at: last.captured_at, id: last.frame_id.to_string() };
    let mut page = listed.page(List::Frames, read, position).await?;
    subject_names::add(&app, &caller.caller, page.items.iter_mut().flat_map(|frame| &mut frame.detections)).await;
    Ok(Json(page))
}

/// One frame with the results so far.
#[utoipa::path(
    get, path = "/v1/frames/{id}", operation_id = "get_frame", tag = "frames", params(("id" = FrameId, Path, description = "The frame's id")),
    responses(
        (status = 200, body = FrameView),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_indexed`: no results, or not yet; retry after Retry-After",
            headers(("Retry-After" = u32, description = "Seconds"))),
    )
)]
pub async fn one(
    State(app): State<App>,
    caller: Authorized<DetectionsRead>,
    PathId(id): PathId<FrameId>,
    _: NoQuery,
) -> Result<Json<FrameView>, ApiError> {
    let results = app.documents.frame(&caller.tenant_scope(), id).await?;
    let mut frame = view::frame(events(&results)).ok_or(FrameError::NotIndexed)?;
    subject_names::add(&app, &caller.caller, frame.detections.iter_mut()).await;
    Ok(Json(frame))
}

/// The image of a frame, while it is kept.
#[utoipa::path(
    get, path = "/v1/frames/{id}/image", operation_id = "get_frame_image", tag = "frames", params(("id" = FrameId, Path, description = "The frame's id")),
    responses(
        (status = 200, description = "The image as it was sent", content(
            (ImageBytes = "image/jpeg"), (ImageBytes = "image/png"), (ImageBytes = "image/webp")
        )),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_indexed`: no results yet; `not_found`: the image was not kept, or was deleted",
            headers(("Retry-After" = Option<u32>, description = "Seconds; missing if there will be no image"))),
    )
)]
pub async fn image(
    State(app): State<App>,
    caller: Authorized<DetectionsRead>,
    PathId(id): PathId<FrameId>,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let results = app.documents.frame(&caller.tenant_scope(), id).await?;
    if results.is_empty() {
        return Err(FrameError::NotIndexed.into());
    }
    let key = view::image_key(events(&results)).ok_or(FrameError::ImageNotKept)?;
    let image = app.blobs.get(&key).await?.ok_or(FrameError::ImageNotKept)?;
    let media_type = ImageType::sniff(&image).map_or("application/octet-stream", ImageType::media_type);
    // Private: only the caller may store it, not a shared cache.
    let headers =
        [(CONTENT_TYPE, media_type), (CACHE_CONTROL, "private, max-age=3600"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, image).into_response())
}

fn events(stored: &[StoredResult]) -> impl Iterator<Item = &contracts::ResultEvent> {
    stored.iter().map(|stored| &stored.result)
}
