//! What the refusals of servers mean. Pure: a status, headers and a body in, a [`CallFailure`] out.
//!
//! | answer | what follows |
//! |---|---|
//! | 429, 503 with `Retry-After` | the provider cools as long as it asks |
//! | 429, 400, 403 with words like `insufficient_quota`; 402 | there is no money: it cools for an hour |
//! | 401, 403 | it is off until its entry or key changes |
//! | 400, 413, 415, 422 | it refuses this input; nobody cools |
//! | 3xx, 404, 408, 409, 5xx and all others | it failed; three failures in a row cool it |

use std::time::Duration;

use jiff::SignedDuration;
use media::CallEnd;
use platform::{one_line, retry};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::http::{Billed, CallFailure};

/// Longest pause that a provider can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
/// Most characters of a server's own words in a message.
const MAX_DETAIL: usize = 200;

/// Words for an account without money or quota, in lower case.
const NO_MONEY: [&str; 9] = [
    "insufficient_quota",
    "usage limit",
    "usage_limit",
    "exceeded your current quota",
    "billing_hard_limit",
    "billing_not_active",
    "credit balance",
    "out of credits",
    "insufficient credits",
];

/// Words for a text that is longer than the model's context, in lower case.
const TOO_LONG: [&str; 6] =
    ["context_length", "context length", "context size", "context_size", "context window", "maximum context"];

/// Fields of requests that not every server knows, and how refusals name them, in lower case.
const FIELDS: [(Field, &[&str]); 4] = [
    (Field::Granularities, &["granularit"]),
    (
        Field::Format,
        &["response_format", "response format", "verbose_json", "json_schema", "structured output", "grammar"],
    ),
    (Field::MaxTokens, &["max_tokens"]),
    (Field::Temperature, &["temperature"]),
];

/// Where an answer has what its error is called, and which field of the request it is about.
const NAMES: [&str; 11] = [
    "/error/code",
    "/error/type",
    "/error/param",
    "/error/metadata/raw",
    "/code",
    "/type",
    "/param",
    "/detail/error/code",
    "/detail/error/type",
    "/detail/0/type",
    "/error_type",
];

/// A field of a request that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// `timestamp_granularities[]`.
    Granularities,
    /// `response_format`.
    Format,
    /// `max_tokens`, for which newer models want `max_completion_tokens`.
    MaxTokens,
    /// `temperature`.
    Temperature,
}

/// What of a request a server objects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objection {
    /// It is more than the model's context.
    TooLong,
    /// It does not know this field, or this value of it.
    Field(Field),
}

/// What a status without success means. `secret` is removed from the server's words.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &str, secret: Option<&str>) -> CallFailure {
    // Before it is cut, which might leave half a key.
    let detail = detail(&without(body, secret));
    let words = own_words(body).to_lowercase();
    let says = |list: &[&str]| list.iter().any(|word| words.contains(word));
    let pause = retry::after(headers).map(|pause| pause.min(LONGEST_PAUSE));
    let number = status.as_u16();
    let with_detail =
        if detail.is_empty() { format!("it answered {number}") } else { format!("it answered {number}: {detail}") };
    let is_no_money = matches!(number, 400 | 403 | 429) && says(&NO_MONEY);
    match number {
        402 => CallFailure::new(CallEnd::OutOfQuota, with_detail, Billed::No),
        _ if is_no_money => CallFailure::new(CallEnd::OutOfQuota, with_detail, Billed::No),
        429 => limited(pause, with_detail),
        503 if pause.is_some() => limited(pause, with_detail),
        // Its words may have a part of the key.
        401 | 403 => {
            let text =
                format!("it answered {number}: it refuses the key; write a valid one into the file of api_key_file");
            CallFailure::new(CallEnd::Unauthorised, text, Billed::No)
        }
        400 | 413 | 415 | 422 => {
            let failure = CallFailure::new(CallEnd::InputRefused, with_detail, Billed::No);
            CallFailure { objection: objection(&says), ..failure }
        }
        404 | 405 => {
            let text = format!("{with_detail}; check base_url and model in the file of the providers");
            CallFailure::failed(text, Billed::No)
        }
        300..=399 => {
            let text = format!(
                "it answered {number}, a redirect, which is not followed; write the last address into base_url"
            );
            CallFailure::failed(text, Billed::No)
        }
        // Some servers fail where others refuse.
        500 | 501 => CallFailure { objection: objection(&says), ..CallFailure::failed(with_detail, Billed::No) },
        _ => CallFailure::failed(with_detail, Billed::No),
    }
}

fn limited(pause: Option<Duration>, text: String) -> CallFailure {
    let retry_after = pause.and_then(|pause| SignedDuration::try_from(pause).ok());
    CallFailure::new(CallEnd::RateLimited { retry_after }, text, Billed::No)
}

fn objection(says: &impl Fn(&[&str]) -> bool) -> Option<Objection> {
    if says(&TOO_LONG) {
        return Some(Objection::TooLong);
    }
    FIELDS.iter().find(|(_, words)| says(words)).map(|(field, _)| Objection::Field(*field))
}

/// A success whose body is of no use: the provider failed, and has probably charged for it.
pub(super) fn unusable(body: &[u8], lacks: &str) -> CallFailure {
    let text = String::from_utf8_lossy(&body[..body.len().min(1 << 10)]);
    let what = match serde_json::from_slice::<Value>(body) {
        Ok(document) => match message_of(&document) {
            None => format!("its answer has {lacks}"),
            Some(said) => format!("its answer has {lacks}: {}", short(&said)),
        },
        Err(_) if body.is_empty() => "its answer is empty".to_owned(),
        Err(_) if is_html(&text) => "its answer is an HTML page; check base_url".to_owned(),
        Err(error) if error.is_eof() => "its answer is half a JSON document".to_owned(),
        Err(_) => "its answer is not JSON".to_owned(),
    };
    CallFailure::failed(what, Billed::Yes)
}

/// The words by which a refusal is understood: what the error is called, and its message. Some servers show the request beside them, and a book
/// may speak of a credit balance.
fn own_words(body: &str) -> String {
    let Ok(document) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    let said = |place: &str| document.pointer(place)?.as_str().map(str::to_owned);
    let named = NAMES.iter().filter_map(|place| said(place));
    // `{"detail": [{"loc": ["body", "temperature"], "msg": "…", "input": …}]}`: the place is a field of the request.
    let faults = || document.pointer("/detail").and_then(Value::as_array).into_iter().flatten();
    let messages = faults().filter_map(|fault| fault.get("msg")?.as_str().map(str::to_owned));
    let fields = faults().filter_map(|fault| fault.get("loc")?.as_array()).flatten();
    let fields = fields.filter_map(|field| field.as_str().map(str::to_owned));
    let words: Vec<String> = message_of(&document).into_iter().chain(named).chain(messages).chain(fields).collect();
    // In a form that is not known, they may be anywhere.
    if words.is_empty() { body.to_owned() } else { words.join("\n") }
}

/// A server's own words: the known forms of errors, or the beginning of a text.
fn detail(body: &str) -> String {
    let said = match serde_json::from_str::<Value>(body) {
        Ok(document) => message_of(&document).unwrap_or_default(),
        Err(_) if is_html(body) => "an HTML page".to_owned(),
        Err(_) => body.trim().to_owned(),
    };
    short(&said)
}

/// The beginning of a foreign text, on one line.
fn short(text: &str) -> String {
    one_line(&text.trim()).chars().take(MAX_DETAIL).collect()
}

/// `{"error": {"message"}}`, `{"error": "…"}`, `{"detail": "…"}`, also with an `error` or a list of `msg` inside, `{"message": "…"}`.
fn message_of(document: &Value) -> Option<String> {
    let places = ["/error/message", "/error", "/detail/error/message", "/detail/0/msg", "/detail", "/message"];
    let found = places.iter().find_map(|place| document.pointer(place)?.as_str());
    found.map(str::to_owned)
}

fn is_html(text: &str) -> bool {
    let start = text.trim_start().get(..9).unwrap_or(text.trim_start()).to_ascii_lowercase();
    start.starts_with("<!doctype") || start.starts_with("<html")
}

/// The text without the key, which a proxy may show with the request.
fn without(text: &str, secret: Option<&str>) -> String {
    match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => text.replace(secret, "***"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
