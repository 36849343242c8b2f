//! Handler arguments for the query and the path, and the parameters of lists. Each refuses an invalid value with a problem that says
//! what is allowed.

use std::fmt::Display;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use contracts::api::Page;
use http::request::Parts;
use platform::query::{Invalid, Parameters, Query};
use store::{List, PageCursor};

use crate::describe::Argument;
use crate::error::{ApiError, RequestError};

/// Default number of items of a page.
pub const DEFAULT_LIMIT: u32 = 50;
/// Maximum number of items of a page.
pub const MAX_LIMIT: u32 = 1000;

/// The query as `P`. Unknown and repeated parameters and invalid values are refused.
pub struct StrictQuery<P>(pub P);

/// The query of a path without parameters.
pub type NoQuery = StrictQuery<()>;

impl<P> Argument for StrictQuery<P> {}

impl<P: Parameters, S: Send + Sync> FromRequestParts<S> for StrictQuery<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Ok(Self(Query::read(&parts.uri)?))
    }
}

/// The one parameter of the path as a `T`.
pub struct PathId<T>(pub T);

impl<T> Argument for PathId<T> {}

impl<T: FromStr<Err: Display>, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state).await.map_err(not_utf8)?;
        Ok(Self(parsed(&text)?))
    }
}

/// The two parameters of the path, in their order.
pub struct PathIds<T, U>(pub T, pub U);

impl<T, U> Argument for PathIds<T, U> {}

impl<T, U, S> FromRequestParts<S> for PathIds<T, U>
where
    T: FromStr<Err: Display>,
    U: FromStr<Err: Display>,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((one, other)) = Path::<(String, String)>::from_request_parts(parts, state).await.map_err(not_utf8)?;
        Ok(Self(parsed(&one)?, parsed(&other)?))
    }
}

fn not_utf8<E>(_: E) -> RequestError {
    RequestError::Malformed("the path is not UTF-8 after percent-decoding".to_owned())
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, RequestError> {
    text.parse().map_err(|error: T::Err| RequestError::Invalid(error.to_string()))
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
