//! `GET /v1/media/{token}`: the file of a link.

use api_kit::error::ApiError;
use api_kit::extract::PathId;
use api_kit::routes;
use axum::extract::{Request, State};
use axum::response::Response;
use contracts::api::Problem;

use super::served::serve;
use crate::app::App;
use crate::error::refused;
use crate::http::Routes;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![read_media]
}

/// The file of a link. The link is the credential: whoever has it can read the file, for ten minutes, and no longer than its user may. A
/// response in progress ends within a second after a refund. `HEAD` gives the same headers; one range, `If-Range`, `If-None-Match` and
/// `If-Match` are understood (RFC 9110), and several ranges get the whole file.
#[utoipa::path(
    get, path = "/v1/media/{token}", operation_id = "read_media", tag = "shop",
    params(("token" = String, Path, description = "The token of the link"),
        ("Range" = Option<String>, Header, description = "One range of bytes")),
    responses(
        (status = 200, description = "The file", content_type = "application/octet-stream",
            headers(("ETag" = String, description = "The SHA-256 of the file"), ("Accept-Ranges" = String, description = "`bytes`"))),
        (status = 206, description = "The range", content_type = "application/octet-stream"),
        (status = 304, description = "The client has this version"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`link_invalid`: the link is not one of this server, is too old, or may not be used any more"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "`other_version`: not the one of If-Match"),
        (status = 416, body = Problem, content_type = "application/problem+json", description = "`out_of_range`: the file has none of the bytes"),
        (status = 429, body = Problem, content_type = "application/problem+json", description = "`share_in_use`: too many files with links of this user at the same time"),
    )
)]
pub async fn read_media(
    State(app): State<App>,
    PathId(token): PathId<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let opened = app.shop.open_link(&token).await.map_err(refused)?;
    serve(&app.files, opened, request.method(), request.headers())
}
