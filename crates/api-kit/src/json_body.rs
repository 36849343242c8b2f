//! JSON bodies. The parser's messages name Rust types; this module rewords them in terms of JSON.

use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::ApiState;
use crate::describe::{Argument, Requirements};
use crate::error::{ApiError, RequestError};
use crate::upload::{BODY_ERRORS, IncomingBody};

/// An id in a message.
const UUID: &str = "a UUID, like 01890a5d-ac96-774b-bcce-b302099a8057";

/// The body as a `T`.
pub struct JsonBody<T>(pub T);

impl<T> Argument for JsonBody<T> {
    fn describe(requirements: &mut Requirements) {
        requirements.errors.extend(BODY_ERRORS);
    }
}

impl<T: DeserializeOwned, S: ApiState> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let reason = "the body must be JSON, with Content-Type: application/json".to_owned();
            return Err(RequestError::UnsupportedMediaType(reason).into());
        }
        let bytes = IncomingBody::begin(request, state.json_limits(), state.bytes_in_flight())?.collect().await?;
        Ok(Self(parse(&bytes)?))
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RequestError> {
    match bytes.trim_ascii_start().first() {
        None => return Err(RequestError::Malformed("the body is empty; send JSON".to_owned())),
        // serde would parse a list as an object with unnamed fields.
        Some(b'[') => return Err(RequestError::Invalid("the body must be a JSON object".to_owned())),
        Some(_) => {}
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let value = parsed.map_err(|error| invalid(&error.path().to_string(), error.inner()))?;
    reader.end().map_err(|error| invalid(".", &error))?;
    Ok(value)
}

fn invalid(path: &str, error: &serde_json::Error) -> RequestError {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => RequestError::Invalid(reworded(path, &error.to_string())),
        Category::Eof => RequestError::Malformed(format!("the body is not JSON: it ends early at {place}")),
        // The parser calls it a syntax error.
        Category::Syntax if error.to_string().starts_with("number out of range") => {
            RequestError::Invalid(format!("a number is too large at {place}"))
        }
        Category::Syntax | Category::Io => {
            RequestError::Malformed(format!("the body is not JSON: syntax error at {place}"))
        }
    }
}

/// A message of the parser in terms of JSON. A message without one of its fixed phrases comes from a type of this project.
fn reworded(path: &str, message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let name = if path == "." { "the body" } else { path };
    let quoted = |text: &str| text.replace('`', "");
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("{} is missing{}", quoted(field), within(path));
    }
    if let Some(field) = message.strip_prefix("duplicate field ") {
        return format!("{} is given twice; send it once", quoted(field));
    }
    if let Some((field, known)) =
        message.strip_prefix("unknown field ").and_then(|rest| rest.rsplit_once(", expected "))
    {
        let known = quoted(known.strip_prefix("one of ").unwrap_or(known));
        return format!("there is no field {:.80}; the fields are {known}", quoted(field));
    }
    if let Some((_, known)) = message.strip_prefix("unknown variant ").and_then(|rest| rest.rsplit_once(", expected "))
    {
        return format!("{name} must be {}", quoted(known));
    }
    if let Some((_, expected)) = message.strip_prefix("invalid ").and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("{name} must be {}", kind(expected));
    }
    if message.starts_with("UUID parsing failed") {
        return format!("{name} must be {UUID}");
    }
    format!("{name}: {message}")
}

/// The part of the body in which a field is missing.
fn within(path: &str) -> String {
    if path == "." { String::new() } else { format!(" in {path}") }
}

/// A kind of value in terms of JSON.
fn kind(expected: &str) -> &'static str {
    match expected {
        "f64" | "f32" => "a number",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number within its range",
        "a string" => "a string",
        "a formatted UUID string" => UUID,
        "a boolean" => "true or false",
        "a sequence" => "an array",
        _ => "an object with its fields",
    }
}

#[cfg(test)]
mod tests {
    use contracts::api::{NewDetection, NewRule, NewWatchlist, StreamReport, SubjectMerge};

    use super::*;

    fn refusal<T: DeserializeOwned>(body: &str) -> String {
        match parse::<T>(body.as_bytes()) {
            Err(RequestError::Invalid(detail) | RequestError::Malformed(detail)) => detail,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{body} was accepted"),
        }
    }

    #[test]
    fn messages_name_the_field_in_terms_of_json() {
        for (body, expected) in [
            ("{}", "label is missing"),
            (r#"{"label": "x", "box": {"x": 1}}"#, "y is missing in box"),
            (r#"{"label": 7}"#, "label must be a string"),
            (r#"{"label": "x", "confidence": "high"}"#, "confidence must be a number"),
            (r#"{"label": "x", "year": 2020.5}"#, "year must be a whole number within its range"),
            (r#"{"label": "x", "year": 99999999999}"#, "year must be a whole number within its range"),
            (r#"{"label": "x", "landmarks": {}}"#, "landmarks must be an array"),
            (r#"{"label": "x", "landmarks": [{"x": 1, "y": 2}, 5]}"#, "landmarks[1] must be an object with its fields"),
            (r#"{"label": "x", "box": 5}"#, "box must be an object with its fields"),
            (r#"{"label": "x", "label": "y"}"#, "label is given twice; send it once"),
            (
                r#"{"label": "x", "captured_at": "soon"}"#,
                "captured_at: must be a time such as 2026-01-02T03:04:05Z, before the year 9999",
            ),
            (r#"{"label": "x", "captured_at": 5}"#, "captured_at must be a string"),
            (r#"{"label": "x", "confidence": 1e999}"#, "a number is too large at line 1, column 34"),
            ("5", "the body must be an object with its fields"),
            (r#"{"label": "x""#, "the body is not JSON: it ends early at line 1, column 13"),
            (r#"{"label": NaN}"#, "the body is not JSON: syntax error at line 1, column 11"),
            (r#"{"label": "x"} {}"#, "the body is not JSON: syntax error at line 1, column 16"),
        ] {
            assert_eq!(refusal::<NewDetection>(body), expected, "{body}");
        }
        assert_eq!(refusal::<NewRule>(r#"{"enabled": 1}"#), "enabled must be true or false");
        let uuid = "must be a UUID, like 01890a5d-ac96-774b-bcce-b302099a8057";
        for wrong in ["1", "\"x\"", "\"\"", "null", "{}"] {
            assert_eq!(refusal::<SubjectMerge>(&format!(r#"{{"from": {wrong}}}"#)), format!("from {uuid}"), "{wrong}");
        }
        assert_eq!(refusal::<NewWatchlist>(r#"{"subjects": ["x"]}"#), format!("subjects[0] {uuid}"));
        let state = refusal::<StreamReport>(r#"{"state": "lost"}"#);
        assert_eq!(state, "state must be one of connecting, connected, failed, ended");
        let unknown = refusal::<NewRule>(r#"{"nmae": "r"}"#);
        assert_eq!(unknown, "there is no field nmae; the fields are name, condition, enabled");
        let stream = refusal::<NewDetection>(r#"{"label": "x", "stream": "a/b"}"#);
        assert_eq!(stream, "stream: a stream must be 1 to 64 characters out of A-Z a-z 0-9 . _ -");
    }
}
