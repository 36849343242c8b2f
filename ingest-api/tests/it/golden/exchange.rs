//! One request with its response, as text with placeholders for everything that differs from run to run.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use uuid::Uuid;

/// Length of a UUID's text.
const UUID: usize = 36;
/// Headers of a request that belong to the API.
const REQUEST_HEADERS: [&str; 4] = ["authorization", "content-type", "idempotency-key", "prefer"];
/// Headers of a response that belong to the API.
const RESPONSE_HEADERS: [&str; 8] = [
    "allow",
    "cache-control",
    "content-type",
    "location",
    "pragma",
    "preference-applied",
    "retry-after",
    "www-authenticate",
];
/// JSON fields, form fields and query parameters whose values are secrets or keys.
const SECRETS: [&str; 8] = ["access_token", "id_token", "jti", "kid", "next_cursor", "refresh_token", "token", "x"];
/// The `state` of OpenID Connect is random and at least as long as this; that of a rule is a word.
const OIDC_STATE_LENGTH: usize = 20;
/// JSON fields with seconds since 1970.
const SECONDS: [&str; 3] = ["exp", "iat", "nbf"];

pub struct Exchange {
    /// In lower case, as in the OpenAPI document.
    pub method: String,
    /// With `{id}` in place of an id, and `{name}` in place of a name.
    pub path: String,
    pub text: String,
}

impl Exchange {
    /// Sends a request, and checks that the response is a success.
    pub async fn record(client: &Client, request: RequestBuilder) -> (Self, Value) {
        let (exchange, success, body) = Self::record_any(client, request).await;
        assert!(success, "{}", exchange.text);
        (exchange, body)
    }

    /// Sends a request. Returns the exchange, whether it succeeded, and the JSON of the response.
    pub async fn record_any(client: &Client, request: RequestBuilder) -> (Self, bool, Value) {
        let request = request.build().unwrap();
        let mut normaliser = Normaliser::default();
        let method = request.method().as_str().to_owned();
        let target = request.url().as_str()[request.url().origin().ascii_serialization().len()..].to_owned();
        let mut text = format!("{method} {}\n", normaliser.target(&target));
        text += &normaliser.headers(request.headers(), &REQUEST_HEADERS);
        let media_type = media_type(request.headers());
        let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default();
        text += &normaliser.body(&media_type, body);
        let path = without_ids(request.url().path());

        let response = client.execute(request).await.unwrap();
        let success = response.status().is_success();
        text += &format!("\n{}\n", response.status().as_u16());
        text += &normaliser.headers(response.headers(), &RESPONSE_HEADERS);
        let body = read(response, &mut text, &mut normaliser).await;
        (Self { method: method.to_lowercase(), path, text }, success, body)
    }
}

async fn read(response: Response, text: &mut String, normaliser: &mut Normaliser) -> Value {
    let media_type = media_type(response.headers());
    let bytes = response.bytes().await.unwrap();
    text.push_str(&normaliser.body(&media_type, &bytes));
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn media_type(headers: &HeaderMap) -> String {
    headers.get("content-type").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// A path with `{id}` in place of a segment that begins with a UUID, and `{name}` in place of the name of a stream.
fn without_ids(path: &str) -> String {
    let is_id = |segment: &str| segment.get(..UUID).is_some_and(|id| Uuid::try_parse(id).is_ok());
    let mut before = "";
    let segments = path.split('/').map(|segment| match std::mem::replace(&mut before, segment) {
        "streams" => "{name}",
        _ if is_id(segment) => "{id}",
        _ => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Replaces what differs from run to run. Equal ids of one exchange have equal placeholders.
#[derive(Default)]
struct Normaliser {
    ids: HashMap<String, usize>,
}

impl Normaliser {
    fn headers(&mut self, headers: &HeaderMap, names: &[&'static str]) -> String {
        let mut lines = String::new();
        for name in names {
            for value in headers.get_all(HeaderName::from_static(name)) {
                let value = value.to_str().unwrap();
                let value = match value.split_once(' ') {
                    Some(("Bearer", _)) if *name == "authorization" => "Bearer <token>".to_owned(),
                    _ => self.text(value),
                };
                lines += &format!("{name}: {value}\n");
            }
        }
        lines
    }

    /// A body after an empty line: JSON indented, a form with one field per line, anything else as its length.
    fn body(&mut self, media_type: &str, bytes: &[u8]) -> String {
        if bytes.is_empty() {
            return String::new();
        }
        let text = match media_type {
            "application/json" | "application/problem+json" => {
                let mut body = serde_json::from_slice(bytes).unwrap();
                self.json(&mut body);
                serde_json::to_string_pretty(&body).unwrap()
            }
            "application/x-www-form-urlencoded" => {
                let fields = form_urlencoded::parse(bytes);
                fields
                    .map(|(name, value)| format!("{name}={}", self.field(&name, &value)))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
            _ => format!("<{} bytes>", bytes.len()),
        };
        format!("\n{text}\n")
    }

    fn json(&mut self, value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    match value {
                        Value::String(text) => *text = self.field(name, text),
                        Value::Number(_) if SECONDS.contains(&name.as_str()) => *value = "<seconds>".into(),
                        value => self.json(value),
                    }
                }
            }
            Value::String(text) => *text = self.text(text),
            _ => {}
        }
    }

    /// A path with its query.
    fn target(&mut self, target: &str) -> String {
        let Some((path, query)) = target.split_once('?') else { return self.text(target) };
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) => format!("{name}={}", self.field(name, value)),
            None => pair.to_owned(),
        });
        let query: Vec<String> = pairs.collect();
        format!("{}?{}", self.text(path), query.join("&"))
    }

    fn field(&mut self, name: &str, value: &str) -> String {
        let is_oidc_state = name == "state" && value.len() >= OIDC_STATE_LENGTH;
        if is_oidc_state || SECRETS.contains(&name) { format!("<{name}>") } else { self.text(value) }
    }

    /// A text without UUIDs, present times and ports of this machine.
    fn text(&mut self, text: &str) -> String {
        if is_present(text) {
            return "<time>".to_owned();
        }
        let mut normal = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match rest.get(..UUID).filter(|id| Uuid::try_parse(id).is_ok()) {
                Some(id) => {
                    let next = self.ids.len() + 1;
                    normal += &format!("<id {}>", self.ids.entry(id.to_owned()).or_insert(next));
                    rest = &rest[UUID..];
                }
                None => {
                    normal.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        without_port(&normal)
    }
}

/// Whether a text is a time that depends on the run: yesterday at the earliest, and at most a year ahead. The tests' fixed times
/// are earlier or later.
fn is_present(text: &str) -> bool {
    let day = SignedDuration::from_hours(24);
    let now = Timestamp::now();
    text.parse::<Timestamp>().is_ok_and(|time| (now - day..now + day * 366).contains(&time))
}

/// A local URL with a placeholder for a port that the system picked.
fn without_port(text: &str) -> String {
    const HOST: &str = "http://127.0.0.1:";
    match text.strip_prefix(HOST) {
        Some(rest) if !rest.starts_with("8080") => {
            format!("{HOST}<port>{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        _ => text.to_owned(),
    }
}
