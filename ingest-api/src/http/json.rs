//! A JSON body, and what is wrong with one in our own words: the parser's are for programmers of this program.

use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::app::App;
use crate::http::ApiError;
use crate::upload::Upload;

/// The body as JSON of a `T`.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::UnsupportedMediaType(
                "the body must be JSON, with Content-Type: application/json".to_owned(),
            ));
        }
        let bytes = Upload::begin(request.into_body(), app.json_bounds(), &app.in_flight)?.whole().await?;
        read(&bytes).map(Self)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    match bytes.trim_ascii_start().first() {
        None => return Err(ApiError::Malformed("the body is empty; send JSON".to_owned())),
        // Lists would be read as objects without names.
        Some(b'[') => return Err(ApiError::Invalid("the body must be a JSON object".to_owned())),
        Some(_) => {}
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut reader);
    let value = read.map_err(|error| wrong(&error.path().to_string(), error.inner()))?;
    reader.end().map_err(|error| wrong(".", &error))?;
    Ok(value)
}

fn wrong(path: &str, error: &serde_json::Error) -> ApiError {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => ApiError::Invalid(in_our_words(path, &error.to_string())),
        Category::Eof => ApiError::Malformed(format!("the body is not JSON: it breaks off at {place}")),
        Category::Syntax | Category::Io => ApiError::Malformed(format!("the body is not JSON: look at {place}")),
    }
}

/// What the parser says of a value, told again. What it does not say in one of its fixed phrases is a message of ours.
fn in_our_words(path: &str, said: &str) -> String {
    let said = said.rsplit_once(" at line ").map_or(said, |(message, _)| message);
    let name = if path == "." { "the body" } else { path };
    let quoted = |text: &str| text.replace('`', "");
    if let Some(field) = said.strip_prefix("missing field ") {
        return format!("{} is missing{}", quoted(field), within(path));
    }
    if let Some(field) = said.strip_prefix("duplicate field ") {
        return format!("{} is given twice; give it once", quoted(field));
    }
    if let Some((field, known)) = said.strip_prefix("unknown field ").and_then(|rest| rest.rsplit_once(", expected ")) {
        let known = quoted(known.strip_prefix("one of ").unwrap_or(known));
        return format!("there is no field {:.80}; there are {known}", quoted(field));
    }
    if let Some((_, expected)) = said.strip_prefix("invalid ").and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("{name} must be {}", kind(expected));
    }
    format!("{name}: {said}")
}

/// In which part of the body, for what is not there and has no path of its own.
fn within(path: &str) -> String {
    if path == "." { String::new() } else { format!(" in {path}") }
}

/// What the parser calls a kind of value, in JSON's terms.
fn kind(expected: &str) -> &'static str {
    match expected {
        "f64" | "f32" => "a number",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number of a sensible size",
        "a string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        _ => "an object with its fields",
    }
}

#[cfg(test)]
mod tests {
    use contracts::api::{NewDetection, NewRule};

    use super::*;

    fn refusal<T: DeserializeOwned>(body: &str) -> String {
        match read::<T>(body.as_bytes()) {
            Err(ApiError::Invalid(detail) | ApiError::Malformed(detail)) => detail,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{body} was read"),
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_our_words_with_the_field() {
        for (body, expected) in [
            ("{}", "label is missing"),
            (r#"{"label": "x", "box": {"x": 1}}"#, "y is missing in box"),
            (r#"{"label": 7}"#, "label must be a text"),
            (r#"{"label": "x", "confidence": "high"}"#, "confidence must be a number"),
            (r#"{"label": "x", "year": 2020.5}"#, "year must be a whole number of a sensible size"),
            (r#"{"label": "x", "year": 99999999999}"#, "year must be a whole number of a sensible size"),
            (r#"{"label": "x", "landmarks": {}}"#, "landmarks must be a list"),
            (r#"{"label": "x", "landmarks": [{"x": 1, "y": 2}, 5]}"#, "landmarks[1] must be an object with its fields"),
            (r#"{"label": "x", "box": 5}"#, "box must be an object with its fields"),
            (r#"{"label": "x", "label": "y"}"#, "label is given twice; give it once"),
            (r#"{"label": "x", "captured_at": "soon"}"#, "captured_at: must be a time such as 2026-01-02T03:04:05Z"),
            (r#"{"label": "x", "captured_at": 5}"#, "captured_at must be a text"),
            ("5", "the body must be an object with its fields"),
            (r#"{"label": "x""#, "the body is not JSON: it breaks off at line 1, column 13"),
            (r#"{"label": NaN}"#, "the body is not JSON: look at line 1, column 11"),
            (r#"{"label": "x"} {}"#, "the body is not JSON: look at line 1, column 16"),
        ] {
            assert_eq!(refusal::<NewDetection>(body), expected, "{body}");
        }
        assert_eq!(refusal::<NewRule>(r#"{"enabled": 1}"#), "enabled must be true or false");
        let unknown = refusal::<NewRule>(r#"{"nmae": "r"}"#);
        assert_eq!(unknown, "there is no field nmae; there are name, condition, enabled");
        let stream = refusal::<NewDetection>(r#"{"label": "x", "stream": "a/b"}"#);
        assert_eq!(stream, "stream: a stream must be 1 to 64 characters out of A-Z a-z 0-9 . _ -");
    }
}
