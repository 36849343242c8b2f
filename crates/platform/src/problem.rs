//! The one form of a refusal: `application/problem+json`, as RFC 9457 has it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use contracts::api::Problem;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

/// Longest detail, in characters: it says what is wrong and does not send back all that was sent.
const LONGEST: usize = 500;

/// The answer to a request that is refused: a status, a stable code for programs, and what to do, for people.
pub fn response(status: StatusCode, code: &str, mut detail: String) -> Response {
    if let Some((end, _)) = detail.char_indices().nth(LONGEST) {
        detail.truncate(end);
        detail.push('…');
    }
    let problem = Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail,
        request_id: crate::http::request_id(),
    };
    let mut response = (status, Json(problem)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
