//! Handler arguments for the query, the path and the body. Each refuses an invalid value with a problem that says
//! what is allowed.

pub mod attributes;
pub mod form;
pub mod json;

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use contracts::api::Page;
use contracts::{StreamName, whole_microseconds};
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use platform::query::{Invalid, Parameters, Query};
use store::{List, PageCursor, PageRequest};

use crate::http::app::App;
use crate::http::describe::Argument;
use crate::http::error::{ApiError, RequestError};

/// Default number of items of a page.
pub const DEFAULT_LIMIT: u32 = 50;
/// Maximum number of items of a page.
const MAX_LIMIT: u32 = 1000;
/// Maximum time by which a camera's clock may be ahead of the server's.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// The query as `P`. Unknown and repeated parameters and invalid values are refused.
pub struct StrictQuery<P>(pub P);

/// The query of a path without parameters.
pub type NoQuery = StrictQuery<()>;

impl<P> Argument for StrictQuery<P> {}

impl<P: Parameters> FromRequestParts<App> for StrictQuery<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Ok(Self(Query::read(&parts.uri)?))
    }
}

/// The one parameter of the path as a `T`.
pub struct PathId<T>(pub T);

impl<T> Argument for PathId<T> {}

impl<T: FromStr<Err: Display>> FromRequestParts<App> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|_| RequestError::Malformed("the path is not UTF-8 after percent-decoding".to_owned()))?;
        let id = text.parse().map_err(|error: T::Err| RequestError::Invalid(error.to_string()))?;
        Ok(Self(id))
    }
}

/// The parameters of every list: a time span, a stream, and the page.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Earliest capture time, inclusive, in RFC 3339; for alerts, of the time raised.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Latest capture time, exclusive, in RFC 3339; for alerts, of the time raised.
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// Name of the stream.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    pub stream: Option<StreamName>,
    /// Items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: u32,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{8,256}$")]
    cursor: Option<String>,
}

impl Parameters for ListQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let (from, to) = span(query)?;
        let cursor = query.text("cursor")?;
        Ok(Self { from, to, stream: query.parsed("stream")?, limit: limit(query, DEFAULT_LIMIT)?, cursor })
    }
}

impl ListQuery {
    /// The query to the store. It requests one item more than the page has, to find out whether there is a next page.
    ///
    /// # Errors
    /// When the cursor is not one of this list.
    pub fn page_query(&self, list: List) -> Result<PageRequest, Invalid> {
        let after = self.cursor.as_deref().map(|text| cursor_of(list, text)).transpose()?;
        Ok(PageRequest::Newest { after, limit: self.limit + 1 })
    }

    /// The page, from the results of [`Self::page_query`].
    pub fn page<T>(&self, list: List, items: Vec<T>, cursor_of: impl FnOnce(&T) -> PageCursor) -> Page<T> {
        page(list, self.limit, items, cursor_of)
    }
}

/// The cursor of a list.
///
/// # Errors
/// When it is not one of this list.
pub fn cursor_of(list: List, text: &str) -> Result<PageCursor, Invalid> {
    PageCursor::decode(text, list).map_err(|error| Invalid(error.to_string()))
}

/// A page of `limit` items. `items` may have one more, which means that there is a next page.
pub fn page<T>(list: List, limit: u32, mut items: Vec<T>, cursor_of: impl FnOnce(&T) -> PageCursor) -> Page<T> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items.last().filter(|_| more).map(|last| cursor_of(last).encode(list));
    Page { items, next_cursor }
}

/// The parameter `limit`.
///
/// # Errors
/// When it is not a number or out of range.
pub fn limit(query: &mut Query, default: u32) -> Result<u32, Invalid> {
    let Some(text) = query.text("limit")? else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
    number.ok_or_else(|| Invalid(format!("limit must be a whole number from 1 to {MAX_LIMIT}")))
}

/// A parameter that is a time.
///
/// # Errors
/// When it is not a time in RFC 3339, or before 1970.
pub fn moment(query: &mut Query, name: &'static str) -> Result<Option<Timestamp>, Invalid> {
    let Some(text) = query.text(name)? else { return Ok(None) };
    let wrong = || Invalid(format!("{name} must be a time such as 2026-01-02T03:04:05Z (write + as %2B)"));
    let moment: Timestamp = text.parse().map_err(|_| wrong())?;
    since_1970(name, moment).map(Some)
}

/// Checks the capture time of an image and cuts it to microseconds.
///
/// # Errors
/// When it is before 1970, or more than an hour ahead of the server.
pub fn captured_at(moment: Timestamp) -> Result<Timestamp, Invalid> {
    reported_time("captured_at", moment)
}

/// Checks a time by another machine's clock and cuts it to microseconds.
///
/// # Errors
/// When it is before 1970, or more than an hour ahead of the server.
pub fn reported_time(name: &str, moment: Timestamp) -> Result<Timestamp, Invalid> {
    if moment.duration_since(Timestamp::now()) > MAX_AHEAD {
        return Err(Invalid(format!(
            "{name} is in the future, and clocks may be ahead by at most {MAX_AHEAD:#}; correct the clock of the camera"
        )));
    }
    since_1970(name, whole_microseconds(moment))
}

/// Checks that every database can store a time.
fn since_1970(name: &str, moment: Timestamp) -> Result<Timestamp, Invalid> {
    if moment >= Timestamp::UNIX_EPOCH { Ok(moment) } else { Err(Invalid(format!("{name} must be 1970 or later"))) }
}

/// A parameter that is a text of 1 to 128 characters.
///
/// # Errors
/// When it is empty or too long.
pub fn text(query: &mut Query, name: &'static str) -> Result<Option<String>, Invalid> {
    let value = query.text(name)?;
    let is_valid = value.as_ref().is_none_or(|text| (1..=128).contains(&text.chars().count()) && !text.contains('\0'));
    if is_valid { Ok(value) } else { Err(Invalid(format!("{name} must have 1 to 128 characters"))) }
}

/// The parameters `from` and `to`.
///
/// # Errors
/// When `from` is not before `to`.
pub fn span(query: &mut Query) -> Result<(Option<Timestamp>, Option<Timestamp>), Invalid> {
    match (moment(query, "from")?, moment(query, "to")?) {
        (Some(from), Some(to)) if from >= to => Err(Invalid("from must be before to".to_owned())),
        span => Ok(span),
    }
}
