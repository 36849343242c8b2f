//! The response with a file, or with a part of it.

use api_kit::error::{ApiError, ServiceError};
use api_kit::shares::NotFree;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use contracts::AssetKind;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use shop::Opened;
use store::attachment;

use crate::files::Files;
use crate::files::conditions::{Answer, answer};
use crate::files::error::FileError;
use crate::files::media_body::MediaBody;

/// A browser may keep the file for this user, and asks again before it uses it: links end, and covers change.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// The response to a GET or HEAD for a file.
///
/// # Errors
/// When a condition of the request does not hold, or too many files are read.
pub fn serve(files: &Files, opened: Opened, method: &Method, headers: &HeaderMap) -> Result<Response, ApiError> {
    let length = opened.bytes;
    let (status, range) = match answer(method, headers, &opened.etag, length) {
        Answer::Whole => (StatusCode::OK, 0..length),
        Answer::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Answer::NotModified => return about(&opened, StatusCode::NOT_MODIFIED),
        Answer::OtherVersion => return Err(FileError::OtherVersion.into()),
        Answer::OutOfRange => return Ok(out_of_range(length)),
    };
    let mut response = about(&opened, status)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, header(&opened.content_type)?);
    headers.insert(CONTENT_DISPOSITION, disposition(&opened)?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if status == StatusCode::PARTIAL_CONTENT {
        // A range has at least one byte.
        headers.insert(CONTENT_RANGE, header(&format!("bytes {}-{}/{length}", range.start, range.end - 1))?);
    }
    if method != Method::HEAD && !range.is_empty() {
        let user = opened.user().map(|user| user.to_string());
        let place = files.downloads().take(user.as_deref(), 1).map_err(refusal)?;
        *response.body_mut() = Body::new(MediaBody::new(files.clone(), opened, range, place));
    }
    Ok(response)
}

/// A response with what every response about a file has, and without its bytes.
fn about(opened: &Opened, status: StatusCode) -> Result<Response, ApiError> {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(ETAG, header(&opened.etag)?);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, CACHING);
    Ok(response)
}

/// Recordings are saved under their name; previews are played, and covers are shown.
fn disposition(opened: &Opened) -> Result<HeaderValue, ApiError> {
    match opened.asset {
        AssetKind::Master => header(&attachment(&opened.file_name)),
        AssetKind::Preview | AssetKind::Cover => Ok(HeaderValue::from_static("inline")),
    }
}

fn out_of_range(length: u64) -> Response {
    let mut response = ApiError::from(FileError::OutOfRange { length }).into_response();
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

fn refusal(not_free: NotFree) -> FileError {
    match not_free {
        NotFree::OfTenant => FileError::ShareInUse,
        NotFree::OfAll => FileError::Busy,
    }
}

/// A text of the store as a header. One that cannot be sent is a defect.
fn header(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(text).map_err(|error| ServiceError::Internal(error.into()).into())
}
