//! The work on a recording after its upload: how far it is, and what an admin asks of it. Without the audio pipeline, the recording is checked
//! and gets its preview, and the book is ready.

use std::convert::Infallible;
use std::time::Duration;

use api_kit::auth::{AuthError, bearer_token};
use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId};
use api_kit::routes;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contracts::BookId;
use contracts::api::{BookView, PipelineBody, Problem};
use contracts::media::MediaProgress;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::json;
use shop::ShopError;
use tokio::time::timeout;

use super::Routes;
use super::auth::ShopAdmin;
use super::optional_json::OptionalJson;
use crate::app::{App, ForcedStatus, Resume};
use crate::error::refused;

/// How long a request waits for its book, unless it says.
const WAIT: Duration = Duration::from_secs(30);
/// Pause after which a comment keeps an event stream alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The routes of this file that do not wait.
pub fn routes() -> Routes {
    routes![pipeline, events]
}

/// The route that waits for a recording.
pub fn work_routes() -> Routes {
    routes![complete]
}

/// Goes on with the work on a book, without saying where it stopped; or does a step again. Waits until the book is ready, for 30 seconds at
/// most; the work goes on regardless. Again: the same.
#[utoipa::path(
    post, path = "/v1/books/{id}/pipeline", operation_id = "complete_book_upload", tag = "shop",
    request_body = Option<PipelineBody>, params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = BookView, description = "The book; `status` is `ready` if the work is done"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`no_file`: nothing was uploaded; `upload_incomplete`: bytes are missing; `book_deleted`: it is deleted; \
                           `step_not_reached`: the step cannot be done again before it was done; `pipeline_failed`: the work failed, and the \
                           detail says why and what to do; `version_conflict`: others change it all the time"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "`not_audio`, `encrypted`, `codec_unsupported`, `truncated`, `too_long`, `no_sound`, `damaged`, `empty_upload`: the \
                           file is refused; `invalid`: a value is out of its range, or no provider is in the group"),
        (status = 501, body = Problem, content_type = "application/problem+json",
            description = "`audio_off`: `from`, `group` and `budget_micro` need the audio pipeline"),
    )
)]
pub async fn complete(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(id): PathId<BookId>,
    _: NoQuery,
    OptionalJson(body): OptionalJson<PipelineBody>,
) -> Result<Json<BookView>, ApiError> {
    let PipelineBody { from, group, budget_micro, wait_seconds } = body;
    let wait = wait_seconds.map_or(WAIT, |seconds| Duration::from_secs(u64::from(seconds)));
    if wait > WAIT {
        let reason = format!("it must be from 0 to {}", WAIT.as_secs());
        return Err(refused(ShopError::invalid("wait_seconds", reason)));
    }
    if from.is_none() && group.is_none() && budget_micro.is_none() {
        return Ok(Json(app.complete_upload(&viewer, id, ForcedStatus::Audio, None, wait).await?));
    }
    Ok(Json(app.resume(&viewer, id, Resume { from, group, budget_micro }, wait).await?))
}

/// How far the work on a book is: step, windows, provider, cost, why it waits or has failed, and what to do.
#[utoipa::path(
    get, path = "/v1/books/{id}/pipeline", operation_id = "get_pipeline", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = MediaProgress),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id, or the work on it has not begun"),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn pipeline(
    State(app): State<App>,
    _: ShopAdmin,
    PathId(id): PathId<BookId>,
    _: NoQuery,
) -> Result<Json<MediaProgress>, ApiError> {
    Ok(Json(app.progress(id).await?))
}

/// The same as server-sent events, now and at every change, until the book is done: each `progress` has the body of
/// `GET /v1/books/{id}/pipeline`, and `error` ends the stream when the credential ends.
#[utoipa::path(
    get, path = "/v1/books/{id}/pipeline/events", operation_id = "watch_pipeline", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "Events `progress` and `error`"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id, or the work on it has not begun"),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn events(
    State(app): State<App>,
    _: ShopAdmin,
    PathId(id): PathId<BookId>,
    _: NoQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let token = bearer_token(&headers).ok_or(AuthError::NoCredential)?;
    let progress = app.watch(id, token).await?;
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(written(progress))).into_response())
}

/// The progress as events, with a comment now and then while nothing changes.
fn written(
    progress: BoxStream<'static, Result<MediaProgress, ApiError>>,
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    stream::unfold(progress, |mut progress| async move {
        let event = match timeout(KEEP_ALIVE, progress.next()).await {
            Ok(Some(Ok(progress))) => event("progress", &json!(progress)),
            Ok(Some(Err(error))) => event("error", &json!(error.into_problem())),
            Ok(None) => return None,
            Err(_) => Bytes::from_static(b": still here\n\n"),
        };
        Some((Ok::<_, Infallible>(event), progress))
    })
}

/// An event with data on one line: JSON has no line breaks.
fn event(name: &str, data: &serde_json::Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}
