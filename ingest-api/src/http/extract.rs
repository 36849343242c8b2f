//! What handlers take as arguments: a caller with a right, a query, an id, a JSON body; each refuses with a problem that
//! says what would be right.

use std::fmt::Display;
use std::str::FromStr;

use accounts::{Caller, Right};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use store::{Cursor, Paged, Scope};

use crate::app::App;
use crate::http::ApiError;
use crate::upload::Upload;

/// Items of a page when the client does not say how many.
const DEFAULT_LIMIT: u32 = 50;
/// Most items of a page.
pub const MAX_LIMIT: u32 = 1000;

/// A caller who may send frames and detections.
pub struct MayWrite(pub Caller);

/// A caller who may read.
pub struct MayRead(pub Caller);

/// A caller who may change rules.
pub struct MayEditRules(pub Caller);

impl FromRequestParts<App> for MayWrite {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        allowed(parts, app, Right::Write, "sending").await.map(Self)
    }
}

impl FromRequestParts<App> for MayRead {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        allowed(parts, app, Right::Read, "reading").await.map(Self)
    }
}

impl FromRequestParts<App> for MayEditRules {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        allowed(parts, app, Right::Rules, "changing rules").await.map(Self)
    }
}

impl MayRead {
    /// Whose data the caller sees.
    pub fn scope(&self) -> Scope {
        if self.0.sees_all { Scope::All } else { Scope::Tenant(self.0.tenant.clone()) }
    }
}

async fn allowed(parts: &Parts, app: &App, right: Right, what: &'static str) -> Result<Caller, ApiError> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(ApiError::NoCredential)?;
    let token = header.to_str().ok().and_then(bearer).ok_or(ApiError::NoCredential)?;
    let caller = app.accounts.authenticate(token).await?;
    if caller.may(right) { Ok(caller) } else { Err(ApiError::Forbidden(what)) }
}

/// The token of a `Bearer` credential.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The query as a `T` that knows its parameters: an unknown one, one given twice and one with a wrong value are refused.
pub struct Strict<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Strict<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let read = Query::<T>::try_from_uri(&parts.uri);
        read.map(|Query(query)| Self(query))
            .map_err(|rejection| ApiError::Invalid(format!("query: {}", reason(&rejection.body_text()))))
    }
}

/// The one parameter in the path as a `T`.
pub struct Id<T>(pub T);

impl<T: FromStr<Err: Display>> FromRequestParts<App> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::Malformed(format!("path: {}", rejection.body_text())))?;
        text.parse().map(Self).map_err(|error: T::Err| ApiError::Invalid(error.to_string()))
    }
}

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
        if bytes.is_empty() {
            return Err(ApiError::Malformed("the body is empty; send JSON".to_owned()));
        }
        // Lists would be read as objects without names.
        if bytes.trim_ascii_start().first() == Some(&b'[') {
            return Err(ApiError::Invalid("the body must be a JSON object".to_owned()));
        }
        Json::from_bytes(&bytes).map(|Json(body)| Self(body)).map_err(|rejection| match &rejection {
            JsonRejection::JsonDataError(_) => ApiError::Invalid(reason(&rejection.body_text())),
            _ => ApiError::Malformed(format!("the body is not JSON: {}", reason(&rejection.body_text()))),
        })
    }
}

/// What a rejection says after the words that are the same in all of its kind: the field and what is wrong with it.
fn reason(text: &str) -> String {
    text.split_once(": ").map_or(text, |(_, reason)| reason).to_owned()
}

/// Refuses a query on a path that takes none.
pub struct NoQuery;

impl FromRequestParts<App> for NoQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        match parts.uri.query() {
            None | Some("") => Ok(Self),
            Some(_) => Err(ApiError::Invalid("query: this path takes no parameters".to_owned())),
        }
    }
}

/// A page of a list out of `limit` and `cursor`; one item more than asked for, which tells whether there is a next page.
///
/// # Errors
/// When a value makes no sense.
pub fn page(limit: Option<&str>, cursor: Option<&str>) -> Result<(Paged, usize), ApiError> {
    let limit = limit_of(limit, DEFAULT_LIMIT)?;
    let after = cursor.map(Cursor::decode).transpose().map_err(|error| ApiError::Invalid(error.to_string()))?;
    Ok((Paged::Newest { after, limit: limit + 1 }, limit as usize))
}

/// A number of items.
///
/// # Errors
/// When it is none or out of range.
pub fn limit_of(text: Option<&str>, default: u32) -> Result<u32, ApiError> {
    let Some(text) = text else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
    number.ok_or_else(|| ApiError::Invalid(format!("limit must be a whole number from 1 to {MAX_LIMIT}")))
}

/// A moment in a query.
///
/// # Errors
/// When it does not read, or no calendar of ours has it.
pub fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || ApiError::Invalid(format!("{name} must be a time such as 2026-01-02T03:04:05Z (write + as %2B)"));
    let moment: Timestamp = text.parse().map_err(|_| wrong())?;
    sound(moment).map(Some).ok_or_else(wrong)
}

/// A moment that RFC 3339 can write and every database can keep.
pub fn sound(moment: Timestamp) -> Option<Timestamp> {
    (moment >= Timestamp::UNIX_EPOCH).then_some(moment)
}

/// A name or text in a query as a `T`.
///
/// # Errors
/// When it is none.
pub fn parsed<T: FromStr<Err: Display>>(text: Option<&str>) -> Result<Option<T>, ApiError> {
    text.map(str::parse).transpose().map_err(|error: T::Err| ApiError::Invalid(error.to_string()))
}

/// A text to compare with, of a sensible length.
///
/// # Errors
/// When it is empty or too long.
pub fn text(name: &str, value: Option<String>) -> Result<Option<String>, ApiError> {
    let sensible = value.as_ref().is_none_or(|text| (1..=128).contains(&text.chars().count()) && !text.contains('\0'));
    if sensible { Ok(value) } else { Err(ApiError::Invalid(format!("{name} must have 1 to 128 characters"))) }
}

/// A span of time that is none backwards.
///
/// # Errors
/// When it ends before it begins.
pub fn span(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(), ApiError> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(ApiError::Invalid("from must be before to".to_owned())),
        _ => Ok(()),
    }
}
