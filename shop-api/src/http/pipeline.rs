//! The work on a recording after its upload. This version checks the recording and makes its preview; the rest needs the audio pipeline.

use std::time::Duration;

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId, PathIds};
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::BookId;
use contracts::api::{BookView, PipelineBody, Problem};

use super::Routes;
use super::auth::ShopAdmin;
use super::optional_json::OptionalJson;
use crate::app::pipeline::not_built;
use crate::app::{App, ForcedStatus};

/// How long a request waits for its book.
const WAIT: Duration = Duration::from_secs(30);

/// The routes of this file that do not wait.
pub fn routes() -> Routes {
    routes![pipeline, providers, order_providers, change_provider, ledger]
}

/// The route that waits for a recording.
pub fn work_routes() -> Routes {
    routes![complete]
}

/// Ends the upload of a book, and waits until the book is ready, for 30 seconds at most; the work goes on regardless. Again: the same.
#[utoipa::path(
    post, path = "/v1/books/{id}/pipeline", operation_id = "complete_book_upload", tag = "shop",
    request_body = Option<PipelineBody>, params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = BookView, description = "The book; `status` is `ready` if the work is done"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`no_file`: nothing was uploaded; `upload_incomplete`: bytes are missing; `book_deleted`: it is deleted"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "`not_audio`, `encrypted`, `codec_unsupported`, `truncated`, `too_long`, `no_sound`, `damaged`, `empty_upload`: the \
                           file is refused; `invalid`: a value is out of its range"),
        (status = 501, body = Problem, content_type = "application/problem+json",
            description = "`not_built`: `from` and `group` need the audio pipeline"),
    )
)]
pub async fn complete(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(id): PathId<BookId>,
    _: NoQuery,
    OptionalJson(PipelineBody { from, group }): OptionalJson<PipelineBody>,
) -> Result<Json<BookView>, ApiError> {
    if from.is_some() || group.is_some() {
        return Err(not_built("step that could be done again"));
    }
    Ok(Json(app.complete_upload(&viewer, id, ForcedStatus::Audio, WAIT).await?))
}

/// How far the work on a book is. This version has no audio pipeline.
#[utoipa::path(
    get, path = "/v1/books/{id}/pipeline", operation_id = "get_pipeline", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn pipeline(_: ShopAdmin, _: PathId<BookId>, _: NoQuery) -> Result<Json<Problem>, ApiError> {
    Err(not_built("state of its steps"))
}

/// The providers of the audio pipeline. This version has none.
#[utoipa::path(
    get, path = "/v1/providers", operation_id = "list_providers", tag = "shop",
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn providers(_: ShopAdmin, _: NoQuery) -> Result<Json<Problem>, ApiError> {
    Err(not_built("list of providers"))
}

/// Changes the order in which providers are asked. This version has none.
#[utoipa::path(
    put, path = "/v1/providers/order", operation_id = "order_providers", tag = "shop",
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn order_providers(_: ShopAdmin, _: NoQuery) -> Result<Json<Problem>, ApiError> {
    Err(not_built("order of providers"))
}

/// Enables, disables or tries a provider. This version has none.
#[utoipa::path(
    post, path = "/v1/providers/{name}/{action}", operation_id = "change_provider", tag = "shop",
    params(
        ("name" = String, Path, description = "The provider's name"),
        ("action" = String, Path, description = "`enable`, `disable` or `probe`"),
    ),
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn change_provider(_: ShopAdmin, _: PathIds<String, String>, _: NoQuery) -> Result<Json<Problem>, ApiError> {
    Err(not_built("provider"))
}

/// The calls of providers and their cost. This version has none.
#[utoipa::path(
    get, path = "/v1/ledger", operation_id = "get_ledger", tag = "shop",
    responses((status = 501, body = Problem, content_type = "application/problem+json", description = "`not_built`"))
)]
pub async fn ledger(_: ShopAdmin, _: NoQuery) -> Result<Json<Problem>, ApiError> {
    Err(not_built("ledger"))
}
