//! Error responses as `application/problem+json` (RFC 9457).

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use contracts::api::Problem;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};

/// Maximum length of a detail in characters. A detail may quote input, and the response must not become as large as the request.
const LONGEST: usize = 500;

/// A problem: a status, a stable code for programs, and a detail for people that says what to do. For a part of a response.
pub fn problem(status: StatusCode, code: &str, mut detail: String) -> Problem {
    if let Some((end, _)) = detail.char_indices().nth(LONGEST) {
        detail.truncate(end);
        detail.push('…');
    }
    Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        code: code.to_owned(),
        detail,
        facts: BTreeMap::new(),
        request_id: crate::http::request_id(),
    }
}

/// An error response: a status, a stable code for programs, and a detail for people that says what to do.
pub fn response(status: StatusCode, code: &str, detail: String) -> Response {
    response_of(status, problem(status, code, detail))
}

/// An error response with a problem that is made already.
pub fn response_of(status: StatusCode, problem: Problem) -> Response {
    let mut response = (status, Json(problem)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
