//! Covers and previews, for every user who may see the book.

use std::time::Duration;

use api_kit::ApiState;
use api_kit::describe::{Argument, ErrorResponse, Requirements};
use api_kit::error::ApiError;
use api_kit::extract::PathId;
use api_kit::routes;
use api_kit::upload::{BODY_ERRORS, BodyLimits, IncomingBody, Reservation};
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use bytes::Bytes;
use contracts::api::Problem;
use contracts::{AssetKind, BookId};
use http::StatusCode;

use super::served::serve;
use crate::app::App;
use crate::error::refused;
use crate::http::{Routes, ShopAdmin, ShopUser};

/// Bytes of the largest cover.
const COVER_BYTES: usize = 5 << 20;
/// Maximum pause between two pieces of an image.
const BODY_IDLE: Duration = Duration::from_secs(10);
/// Maximum time for an image.
const BODY_TOTAL: Duration = Duration::from_secs(30);

/// The routes of this file without an image in the body.
pub fn routes() -> Routes {
    routes![read_cover, remove_cover, read_preview]
}

/// The others.
pub fn image_routes() -> Routes {
    routes![put_cover]
}

/// The cover of a book.
#[utoipa::path(
    get, path = "/v1/books/{id}/cover", operation_id = "get_cover", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, description = "The image", content(("image/jpeg"), ("image/png"), ("image/webp"))),
        (status = 206, description = "A range of it", content_type = "application/octet-stream"),
        (status = 304, description = "The client has this version"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: the caller sees no such book, or it has no cover"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "`other_version`: not the one of If-Match"),
        (status = 416, body = Problem, content_type = "application/problem+json", description = "`out_of_range`: the file has none of the bytes"),
    )
)]
pub async fn read_cover(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(book): PathId<BookId>,
    request: Request,
) -> Result<Response, ApiError> {
    let opened = app.shop.open_asset(&viewer.shop(), book, AssetKind::Cover).await.map_err(refused)?;
    serve(&app.files, opened, request.method(), request.headers())
}

/// The preview of a book: its first minute, as a file of its own.
#[utoipa::path(
    get, path = "/v1/books/{id}/preview", operation_id = "get_preview", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, description = "The sound", content(("audio/mpeg"), ("audio/flac"))),
        (status = 206, description = "A range of it", content_type = "application/octet-stream"),
        (status = 304, description = "The client has this version"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: the caller sees no such book, or it has no preview yet"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "`other_version`: not the one of If-Match"),
        (status = 416, body = Problem, content_type = "application/problem+json", description = "`out_of_range`: the file has none of the bytes"),
    )
)]
pub async fn read_preview(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(book): PathId<BookId>,
    request: Request,
) -> Result<Response, ApiError> {
    let opened = app.shop.open_asset(&viewer.shop(), book, AssetKind::Preview).await.map_err(refused)?;
    serve(&app.files, opened, request.method(), request.headers())
}

/// Sets the cover of a book, or replaces it. The body is a JPEG, PNG or WebP image of at most 5 MiB.
#[utoipa::path(
    put, path = "/v1/books/{id}/cover", operation_id = "put_cover", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    request_body(content(("image/jpeg"), ("image/png"), ("image/webp"))),
    responses(
        (status = 204, description = "The cover is set"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`book_deleted`: the book is deleted"),
        (status = 422, body = Problem, content_type = "application/problem+json",
            description = "`not_an_image`: the body does not begin as an image of these types; `invalid`: a value is out of its range"),
    )
)]
pub async fn put_cover(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(book): PathId<BookId>,
    CoverBody { bytes, _reservation }: CoverBody,
) -> Result<StatusCode, ApiError> {
    app.shop.set_cover(book, bytes, &viewer.actor()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes the cover of a book. Again: the same.
#[utoipa::path(
    delete, path = "/v1/books/{id}/cover", operation_id = "remove_cover", tag = "shop",
    params(("id" = BookId, Path, description = "The book's id")),
    responses(
        (status = 204, description = "The book has no cover"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`book_deleted`: the book is deleted"),
    )
)]
pub async fn remove_cover(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(book): PathId<BookId>,
) -> Result<StatusCode, ApiError> {
    app.shop.remove_cover(book, &viewer.actor()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The bytes of a cover. Its reservation ends with this value.
pub struct CoverBody {
    bytes: Bytes,
    _reservation: Reservation,
}

impl Argument for CoverBody {
    fn describe(requirements: &mut Requirements) {
        requirements.errors.extend(BODY_ERRORS);
        requirements.errors.push(ErrorResponse::with_retry(
            "429",
            "`rate_limited`: too many requests; `share_in_use`: too many bodies of this user at the same time",
        ));
    }
}

impl FromRequest<App> for CoverBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let limits = BodyLimits { bytes: COVER_BYTES, idle: BODY_IDLE, total: BODY_TOTAL };
        let body = IncomingBody::begin(request, limits, app.bytes_in_flight())?;
        let (bytes, _reservation) = body.collect_reserved().await?;
        Ok(Self { bytes, _reservation })
    }
}
