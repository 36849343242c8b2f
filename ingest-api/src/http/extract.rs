//! What handlers take as arguments: a caller with a right, a query, an id; each refuses with a problem that
//! says what would be right. A caller is counted where it becomes known, so a handler takes one of them only.

use std::fmt::Display;
use std::str::FromStr;

use accounts::{AccessError, Caller, Decision, Right};
use axum::extract::{FromRequestParts, Path};
use contracts::StreamName;
use contracts::api::Page;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use platform::http::note_tenant;
use platform::query::{Invalid, Parameters, Query};
use store::{Cursor, Paged, Scope};

use crate::app::App;
use crate::http::ApiError;
use crate::http::limited::{self, Room};

/// Items of a page when the client does not say how many.
pub const DEFAULT_LIMIT: u32 = 50;
/// Most items of a page.
const MAX_LIMIT: u32 = 1000;
/// How far a camera's clock may be ahead of ours.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// A caller who may send frames and detections.
pub struct MayWrite(pub Caller);

/// A caller who may read.
pub struct MayRead(pub Caller);

/// A caller who may read alerts.
pub struct MayReadAlerts(pub Caller);

/// A caller who may change rules.
pub struct MayEditRules(pub Caller);

impl FromRequestParts<App> for MayWrite {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        allowed(parts, app, Right::FramesWrite, "sending").await.map(Self)
    }
}

impl FromRequestParts<App> for MayRead {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        allowed(parts, app, Right::DetectionsRead, "reading").await.map(Self)
    }
}

impl FromRequestParts<App> for MayReadAlerts {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        allowed(parts, app, Right::AlertsRead, "reading alerts").await.map(Self)
    }
}

impl FromRequestParts<App> for MayEditRules {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        allowed(parts, app, Right::RulesWrite, "changing rules").await.map(Self)
    }
}

impl MayRead {
    /// Whose data the caller sees.
    pub fn scope(&self) -> Scope {
        scope(&self.0)
    }
}

impl MayReadAlerts {
    /// Whose data the caller sees.
    pub fn scope(&self) -> Scope {
        scope(&self.0)
    }
}

fn scope(caller: &Caller) -> Scope {
    if caller.sees_all { Scope::All } else { Scope::Tenant(caller.tenant.clone()) }
}

/// The caller of a request, if its credential allows something and there is room for the request.
pub async fn allowed(parts: &Parts, app: &App, right: Right, what: &'static str) -> Result<Caller, ApiError> {
    let caller = admitted(parts, app).await?;
    if caller.may(right) { Ok(caller) } else { Err(ApiError::Forbidden(what)) }
}

/// The caller of a request, whatever its credential allows, if there is room for the request.
pub async fn admitted(parts: &Parts, app: &App) -> Result<Caller, ApiError> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(ApiError::NoCredential)?;
    let token = header.to_str().ok().and_then(bearer).ok_or(ApiError::NoCredential)?;
    let caller = app.accounts.authenticate(token).await?;
    note_tenant(&parts.extensions, caller.tenant.as_str());
    count(parts, app, &caller).await?;
    Ok(caller)
}

/// Counts a request of a caller, and notes what its client is told of its limit.
pub async fn count(parts: &Parts, app: &App, caller: &Caller) -> Result<(), ApiError> {
    match app.accounts.admit(caller).await {
        Ok(Some(Decision { remaining, resets_in, .. })) => {
            let limit = caller.rate_limit.unwrap_or(remaining);
            limited::note(&parts.extensions, Room { limit, remaining, resets_in });
        }
        Ok(None) => {}
        Err(error) => {
            if let AccessError::RateLimited { limit, retry_after } = error {
                limited::note(&parts.extensions, Room { limit, remaining: 0, resets_in: retry_after });
            }
            return Err(error.into());
        }
    }
    Ok(())
}

/// The token of a `Bearer` credential.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The query as parameters that are all known: an unknown one, one given twice and one with a wrong value are refused.
pub struct Strict<P>(pub P);

/// For a path that takes no parameters.
pub type NoQuery = Strict<()>;

impl<P: Parameters> FromRequestParts<App> for Strict<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Ok(Self(Query::read(&parts.uri)?))
    }
}

/// The one parameter in the path as a `T`.
pub struct Id<T>(pub T);

impl<T: FromStr<Err: Display>> FromRequestParts<App> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|_| ApiError::Malformed("what the path has percent-encoded is no UTF-8".to_owned()))?;
        text.parse().map(Self).map_err(|error: T::Err| ApiError::Invalid(error.to_string()))
    }
}

/// What every list takes: a span of time, a stream, and which page.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Listed {
    /// Of then or later, in RFC 3339: when the image was taken; of alerts, when they were raised.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Of before then, in RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// Of this stream.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    pub stream: Option<StreamName>,
    /// Items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: u32,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{8,256}$")]
    cursor: Option<Cursor>,
}

impl Parameters for Listed {
    fn take(query: &mut Query) -> Result<Self, Invalid> {
        let (from, to) = span(query)?;
        let cursor = query.text("cursor")?.as_deref().map(Cursor::decode).transpose();
        let cursor = cursor.map_err(|error| Invalid(error.to_string()))?;
        Ok(Self { from, to, stream: query.parsed("stream")?, limit: limit(query, DEFAULT_LIMIT)?, cursor })
    }
}

impl Listed {
    /// What to ask the store for: one item more than the page has, which tells whether there is a next one.
    pub fn asked(&self) -> Paged {
        Paged::Newest { after: self.cursor.clone(), limit: self.limit + 1 }
    }

    /// The page out of what the store gave.
    pub fn page<T>(&self, items: Vec<T>, place: impl FnOnce(&T) -> Cursor) -> Page<T> {
        page(self.limit, items, place)
    }
}

/// A page of so many items out of one more, which tells whether there is a next page.
pub fn page<T>(limit: u32, mut items: Vec<T>, place: impl FnOnce(&T) -> Cursor) -> Page<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items.last().filter(|_| more).map(|last| place(last).encode());
    Page { items, next_cursor }
}

/// A number of items.
///
/// # Errors
/// When it is none or out of range.
pub fn limit(query: &mut Query, default: u32) -> Result<u32, Invalid> {
    let Some(text) = query.text("limit")? else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
    number.ok_or_else(|| Invalid(format!("limit must be a whole number from 1 to {MAX_LIMIT}")))
}

/// A moment.
///
/// # Errors
/// When it does not read, or no calendar of ours has it.
pub fn moment(query: &mut Query, name: &'static str) -> Result<Option<Timestamp>, Invalid> {
    let Some(text) = query.text(name)? else { return Ok(None) };
    let wrong = || Invalid(format!("{name} must be a time such as 2026-01-02T03:04:05Z (write + as %2B)"));
    let moment: Timestamp = text.parse().map_err(|_| wrong())?;
    since_1970(name, moment).map(Some)
}

/// When an image was taken, which is a moment that has come.
///
/// # Errors
/// When it lies further in the future than clocks differ.
pub fn captured_at(moment: Timestamp) -> Result<Timestamp, Invalid> {
    if moment.duration_since(Timestamp::now()) > MAX_AHEAD {
        return Err(Invalid(format!(
            "captured_at lies in the future, and clocks may be ahead by at most {MAX_AHEAD:#}; correct the clock of the camera"
        )));
    }
    since_1970("captured_at", moment)
}

/// A moment that RFC 3339 can write and every database can keep.
fn since_1970(name: &str, moment: Timestamp) -> Result<Timestamp, Invalid> {
    if moment >= Timestamp::UNIX_EPOCH { Ok(moment) } else { Err(Invalid(format!("{name} must be 1970 or later"))) }
}

/// A text to compare with, of a sensible length.
///
/// # Errors
/// When it is empty or too long.
pub fn text(query: &mut Query, name: &'static str) -> Result<Option<String>, Invalid> {
    let value = query.text(name)?;
    let sensible = value.as_ref().is_none_or(|text| (1..=128).contains(&text.chars().count()) && !text.contains('\0'));
    if sensible { Ok(value) } else { Err(Invalid(format!("{name} must have 1 to 128 characters"))) }
}

/// A span of time that is none backwards.
///
/// # Errors
/// When it ends before it begins.
pub fn span(query: &mut Query) -> Result<(Option<Timestamp>, Option<Timestamp>), Invalid> {
    match (moment(query, "from")?, moment(query, "to")?) {
        (Some(from), Some(to)) if from >= to => Err(Invalid("from must be before to".to_owned())),
        span => Ok(span),
    }
}
