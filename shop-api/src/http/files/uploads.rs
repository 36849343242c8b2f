//! Uploads over HTTP: one PUT, or tus 1.0.0. The address of an upload is its credential.
//!
//! In: bytes and headers of clients. Out: 204 with the durable offset, or a refusal; every response of the protocol has its version.
//! Guarantees: an offset that a response tells survives a crash of this process; after the last byte the whole file is there, with its
//! SHA-256.

use api_kit::describe::{Argument, ErrorResponse, Requirements};
use api_kit::error::{ApiError, RequestError, ServiceError};
use api_kit::extract::PathId;
use api_kit::routes;
use api_kit::upload::BODY_ERRORS;
use axum::Json;
use axum::body::HttpBody;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use contracts::api::{Problem, UploadLinkView};
use http::header::{CACHE_CONTROL, CONTENT_RANGE, ETAG, InvalidHeaderValue, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use shop::{UploadRequest, UploadTicket};
use store::{MediaUploadRecord, MediaUploadState, end_media_upload};

use crate::app::App;
use crate::error::refused;
use crate::files::append::{Appended, pieces};
use crate::files::error::FileError;
use crate::files::metadata::Described;
use crate::files::tus::{self, Checksum};
use crate::files::writer::{self, Commit};
use crate::files::{UploadHeaderFacts, UploadLink};
use crate::http::{Routes, ShopAdmin};

/// The routes of this file.
pub fn routes() -> Routes {
    routes![create, discover, discover_upload, progress, append, put, remove, by_other_method]
}

/// Begins an upload by tus 1.0.0 (creation, creation-defer-length): `Upload-Length` or `Upload-Defer-Length: 1`, and in `Upload-Metadata`
/// either `book` with the id of a book, or `title` of a new one, with or without `author`, `price` in minor units, `currency`, `language` and
/// `description`; also `filename` and `filetype`. The response has the address in `Location`, and the book in its body.
#[utoipa::path(
    post, path = "/v1/uploads", operation_id = "create_upload", tag = "shop",
    params(
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Length" = Option<u64>, Header, description = "Bytes of the file"),
        ("Upload-Defer-Length" = Option<u64>, Header, description = "`1` if the length comes later"),
        ("Upload-Metadata" = Option<String>, Header, description = "Names with values in Base64"),
    ),
    responses(
        (status = 201, body = UploadLinkView, description = "The upload can begin",
            headers(("Location" = String, description = "The address of the upload"), ("Tus-Resumable" = String, description = "`1.0.0`"),
                ("Upload-Expires" = String, description = "When the upload is deleted if nothing comes"))),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no book has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`book_deleted`: the book is deleted"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "`tus_version`: another version of the protocol"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "`upload_too_large`: a file may not have so many bytes"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`empty_upload`: no bytes; `invalid`: a value is out of its range"),
    )
)]
pub async fn create(
    State(app): State<App>,
    admin: Result<ShopAdmin, ApiError>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    of_protocol(created(&app, admin, &headers).await)
}

async fn created(app: &App, admin: Result<ShopAdmin, ApiError>, headers: &HeaderMap) -> Result<Response, ApiError> {
    let ShopAdmin(viewer) = admin?;
    tus::check_version(headers)?;
    let length = tus::new_length(headers)?;
    app.files.check_length(length)?;
    let ticket = match Described::parse(tus::metadata(headers)?, app.currency)? {
        Described::Book { book, file_name, content_type } => {
            let admin = app.shop.acting_user(&viewer.shop()).await.map_err(refused)?;
            let request = UploadRequest { file_name, content_type, length };
            app.shop.begin_upload(admin, book, request).await.map_err(refused)?
        }
        Described::New { book, file_name, content_type } => {
            let file_name = file_name.unwrap_or_default();
            let header = UploadHeaderFacts { book, file_name, content_type: content_type.unwrap_or_default(), length };
            app.files.new_upload(&viewer, header).await?
        }
    };
    location(app, &ticket)
}

/// The response with the address of a new upload, which is relative: so it is right behind any proxy.
fn location(app: &App, ticket: &UploadTicket) -> Result<Response, ApiError> {
    let UploadLink { book, url, max_bytes, expires_at } = app.files.upload_link_of(ticket);
    let path = format!("/v1/uploads/{}", ticket.token.expose());
    let mut response =
        (StatusCode::CREATED, Json(UploadLinkView { book, upload_url: url, max_bytes, expires_at })).into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(path).map_err(internal)?);
    headers.insert(tus::UPLOAD_EXPIRES, expiry(ticket.upload.expires_at));
    Ok(response)
}

/// The version and the extensions of tus that this server has.
#[utoipa::path(
    options, path = "/v1/uploads", operation_id = "discover_uploads", tag = "shop",
    responses((status = 204, description = "What the server can", headers(
        ("Tus-Version" = String, description = "`1.0.0`"), ("Tus-Extension" = String, description = "The extensions"),
        ("Tus-Max-Size" = u64, description = "Bytes of the largest file"), ("Tus-Checksum-Algorithm" = String, description = "The algorithms"))))
)]
pub async fn discover(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(abilities(&app))
}

/// As for all uploads.
#[utoipa::path(
    options, path = "/v1/uploads/{token}", operation_id = "discover_upload", tag = "shop",
    params(("token" = String, Path, description = "The token of the upload")),
    responses((status = 204, description = "What the server can, as for `/v1/uploads`"))
)]
pub async fn discover_upload(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(abilities(&app))
}

fn abilities(app: &App) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(tus::TUS_RESUMABLE, tus::VERSION);
    headers.insert(tus::TUS_VERSION, tus::VERSION);
    headers.insert(tus::TUS_EXTENSION, tus::EXTENSIONS);
    headers.insert(tus::TUS_CHECKSUM_ALGORITHM, tus::ALGORITHMS);
    headers.insert(tus::TUS_MAX_SIZE, HeaderValue::from(app.shop.max_upload()));
    response
}

/// How far an upload is. The offset counts durable bytes.
#[utoipa::path(
    head, path = "/v1/uploads/{token}", operation_id = "get_upload", tag = "shop",
    params(("token" = String, Path, description = "The token of the upload"), ("Tus-Resumable" = String, Header, description = "`1.0.0`")),
    responses(
        (status = 200, description = "The upload is open or complete", headers(
            ("Upload-Offset" = u64, description = "Durable bytes"), ("Upload-Length" = Option<u64>, description = "Bytes of the file"),
            ("Upload-Defer-Length" = Option<u64>, description = "`1` if the length is not known"),
            ("Upload-Metadata" = Option<String>, description = "`filename` and `filetype`"),
            ("Upload-Expires" = String, description = "When the upload is deleted if nothing comes"))),
        (status = 404, description = "`link_invalid`, `upload_gone`: the upload does not exist or has expired"),
        (status = 412, description = "`tus_version`: another version of the protocol"),
    )
)]
pub async fn progress(
    State(app): State<App>,
    PathId(token): PathId<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    of_protocol(progressed(&app, &token, &headers).await)
}

async fn progressed(app: &App, token: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    tus::check_version(headers)?;
    let upload = app.shop.open_upload(token).await.map_err(refused)?;
    let mut response = at_offset(StatusCode::OK, upload.expires_at, upload.offset);
    let headers = response.headers_mut();
    match upload.length.or(complete_length(&upload)) {
        Some(length) => headers.insert(tus::UPLOAD_LENGTH, HeaderValue::from(length)),
        None => headers.insert(tus::UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    let name = upload.file_name.as_deref().map(|name| ("filename", name));
    let pairs = name.into_iter().chain([("filetype", upload.content_type.as_str())]);
    if let Some(value) = tus::encode_metadata(pairs) {
        headers.insert(tus::UPLOAD_METADATA, value);
    }
    Ok(response)
}

const fn complete_length(upload: &MediaUploadRecord) -> Option<u64> {
    match upload.state {
        MediaUploadState::Complete { bytes, .. } => Some(bytes),
        MediaUploadState::Open => None,
    }
}

/// Appends bytes at the offset that `HEAD` tells. With `Upload-Checksum` (sha1 or sha256), nothing of the body counts before it is right.
/// After the last byte the file is there; then complete the book.
#[utoipa::path(
    patch, path = "/v1/uploads/{token}", operation_id = "append_to_upload", tag = "shop",
    params(
        ("token" = String, Path, description = "The token of the upload"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Offset" = u64, Header, description = "Bytes before the body"),
        ("Upload-Length" = Option<u64>, Header, description = "Bytes of the file, if they were not told before"),
        ("Upload-Checksum" = Option<String>, Header, description = "Algorithm and checksum of the body"),
    ),
    request_body(content(("application/offset+octet-stream"))),
    responses(
        (status = 204, description = "The bytes are durable", headers(("Upload-Offset" = u64, description = "Durable bytes"),
            ("Upload-Expires" = String, description = "When the upload is deleted if nothing comes"))),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`link_invalid`, `upload_gone`: the upload does not exist or has expired"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`offset_mismatch`: another offset is stored, which `facts.offset` tells; `upload_busy`: another request goes on with the upload; `upload_complete`: nothing is missing; `length_mismatch`: another length was told before"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "`tus_version`: another version of the protocol"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "`upload_too_large`: more bytes than the file has or may have"),
        (status = 460, body = Problem, content_type = "application/problem+json", description = "`checksum_mismatch`: the body has another checksum"),
    )
)]
pub async fn append(
    State(app): State<App>,
    PathId(token): PathId<String>,
    body: UploadBody,
) -> Result<Response, ApiError> {
    of_protocol(appended(&app, &token, body.0).await)
}

async fn appended(app: &App, token: &str, request: Request) -> Result<Response, ApiError> {
    let headers = request.headers();
    tus::check_version(headers)?;
    tus::check_content_type(headers)?;
    let (offset, length, checksum) = (tus::offset(headers)?, tus::length(headers)?, Checksum::of(headers)?);
    app.files.check_length(length)?;
    let upload = app.shop.open_upload(token).await.map_err(refused)?;
    let body = request.into_body();
    let declared = body.size_hint().exact();
    // A client whose last response was lost asks again.
    if declared == Some(0) && complete_length(&upload) == Some(offset) {
        return Ok(at_offset(StatusCode::NO_CONTENT, upload.expires_at, offset));
    }
    let what = Appended { offset, length, declared, commit: Commit::EachPart, checksum };
    let stored = app.files.append(&upload, what, pieces(body)).await?;
    let expires_at = if stored > offset { app.shop.upload_expires_at() } else { upload.expires_at };
    if upload.length.or(length) == Some(stored) {
        writer::finish(&app.shop, upload.id).await?;
    }
    Ok(at_offset(StatusCode::NO_CONTENT, expires_at, stored))
}

/// Uploads the whole file. If the connection breaks, send it again: nothing counts before the last byte. Then complete the book.
#[utoipa::path(
    put, path = "/v1/uploads/{token}", operation_id = "put_upload", tag = "shop",
    params(("token" = String, Path, description = "The token of the upload")),
    request_body(content(("application/octet-stream"))),
    responses(
        (status = 200, description = "The file is there", headers(("ETag" = String, description = "The SHA-256 of the file"))),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`link_invalid`, `upload_gone`: the upload does not exist or has expired"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`offset_mismatch`: bytes came by tus; `upload_busy`: another request goes on with the upload; `upload_complete`: nothing is missing"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "`upload_too_large`: more bytes than a file may have"),
        (status = 422, body = Problem, content_type = "application/problem+json", description = "`empty_upload`: no bytes"),
    )
)]
pub async fn put(
    State(app): State<App>,
    PathId(token): PathId<String>,
    UploadBody(request): UploadBody,
) -> Result<Response, ApiError> {
    if request.headers().contains_key(CONTENT_RANGE) {
        return Err(FileError::PartialPut.into());
    }
    let upload = app.shop.open_upload(&token).await.map_err(refused)?;
    let body = request.into_body();
    let declared = body.size_hint().exact();
    app.files.check_length(declared)?;
    let what = Appended { offset: 0, length: None, declared, commit: Commit::AtClose, checksum: None };
    app.files.append(&upload, what, pieces(body)).await?;
    let (_, sha256) = writer::finish(&app.shop, upload.id).await?;
    let etag = HeaderValue::try_from(quoted_hex(&sha256)).map_err(internal)?;
    Ok((StatusCode::OK, [(ETAG, etag)]).into_response())
}

fn quoted_hex(sha256: &[u8]) -> String {
    let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Ends an upload and deletes its bytes (termination). A file that became that of a book stays.
#[utoipa::path(
    delete, path = "/v1/uploads/{token}", operation_id = "end_upload", tag = "shop",
    params(("token" = String, Path, description = "The token of the upload"), ("Tus-Resumable" = String, Header, description = "`1.0.0`")),
    responses(
        (status = 204, description = "The upload is ended"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`link_invalid`, `upload_gone`: the upload does not exist or has expired"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "`tus_version`: another version of the protocol"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    PathId(token): PathId<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    of_protocol(removed(&app, &token, &headers).await)
}

async fn removed(app: &App, token: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    tus::check_version(headers)?;
    let upload = app.shop.open_upload(token).await.map_err(refused)?;
    end_media_upload(app.shop.database(), &**app.shop.media(), upload.id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// For clients that cannot send `HEAD`, `PATCH` or `DELETE`: `X-HTTP-Method-Override` names the method.
#[utoipa::path(
    post, path = "/v1/uploads/{token}", operation_id = "override_upload_method", tag = "shop",
    params(
        ("token" = String, Path, description = "The token of the upload"),
        ("X-HTTP-Method-Override" = String, Header, description = "`HEAD`, `PATCH` or `DELETE`"),
    ),
    request_body(content(("application/offset+octet-stream"))),
    responses(
        (status = 200, description = "As `HEAD`"),
        (status = 204, description = "As the method"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "As the method"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "As the method"),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "As the method"),
        (status = 413, body = Problem, content_type = "application/problem+json", description = "As the method"),
        (status = 460, body = Problem, content_type = "application/problem+json", description = "As the method"),
    )
)]
pub async fn by_other_method(
    State(app): State<App>,
    PathId(token): PathId<String>,
    UploadBody(request): UploadBody,
) -> Result<Response, ApiError> {
    let name = request.headers().get(tus::METHOD_OVERRIDE).map(HeaderValue::as_bytes);
    let method = name.and_then(|name| Method::from_bytes(name).ok());
    of_protocol(match method.as_ref() {
        Some(&Method::PATCH) => appended(&app, &token, request).await,
        Some(&Method::HEAD) => progressed(&app, &token, request.headers()).await,
        Some(&Method::DELETE) => removed(&app, &token, request.headers()).await,
        _ => {
            let reason = "X-HTTP-Method-Override must be HEAD, PATCH or DELETE";
            Err(RequestError::Malformed(reason.to_owned()).into())
        }
    })
}

/// A response with an offset.
fn at_offset(status: StatusCode, expires_at: Timestamp, offset: u64) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(tus::UPLOAD_OFFSET, HeaderValue::from(offset));
    headers.insert(tus::UPLOAD_EXPIRES, expiry(expires_at));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// When the upload is deleted; each part of it that comes makes that later.
fn expiry(expires_at: Timestamp) -> HeaderValue {
    let date = httpdate::fmt_http_date(expires_at.into());
    HeaderValue::try_from(date).unwrap_or(HeaderValue::from_static("0"))
}

/// A response of the protocol.
fn of_protocol(outcome: Result<Response, ApiError>) -> Result<Response, ApiError> {
    let mut response = outcome.unwrap_or_else(IntoResponse::into_response);
    let is_version_refused = response.status() == StatusCode::PRECONDITION_FAILED;
    response.headers_mut().insert(tus::TUS_RESUMABLE, tus::VERSION);
    if is_version_refused {
        response.headers_mut().insert(tus::TUS_VERSION, tus::VERSION);
    }
    Ok(response)
}

fn internal(error: InvalidHeaderValue) -> ApiError {
    ServiceError::Internal(error.into()).into()
}

/// A request whose body is a part of a file, or all of it.
pub struct UploadBody(Request);

impl Argument for UploadBody {
    fn describe(requirements: &mut Requirements) {
        requirements.errors.extend(BODY_ERRORS);
        requirements
            .errors
            .push(ErrorResponse::with_retry("429", "`share_in_use`: too many uploads of this user at the same time"));
    }
}

impl FromRequest<App> for UploadBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiError> {
        Ok(Self(request))
    }
}
