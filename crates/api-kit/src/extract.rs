//! Handler arguments for the query and the path, and the parameters of lists. Each refuses an invalid value with a problem that says
//! what is allowed.

use std::fmt::Display;
use std::io;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use contracts::api::Page;
use http::request::Parts;
use platform::query::{Invalid, Parameters, Query};
use serde::Serialize;
use store::{List, PageCursor};

use crate::describe::Argument;
use crate::error::{ApiError, RequestError, ServiceError};

/// Default number of items of a page.
pub const DEFAULT_LIMIT: u32 = 50;
/// Maximum number of items of a page.
pub const MAX_LIMIT: u32 = 1000;
/// Bytes of the items of a page, as JSON. One that is longer alone is a page alone.
const PAGE_BYTES: usize = 1 << 20;
/// Items that are read from the store at a time.
pub const STEP: u32 = 128;

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

/// A page of at most `limit` items and about a MiB, for lists whose items may be long. `read` returns up to so many items after a cursor,
/// fewer only at the end of the list. It is called for a part of the page at a time, so that a request has little more in memory than it
/// sends.
///
/// # Errors
/// As `read`.
pub async fn read_page<T: Serialize, F: Future<Output = Result<Vec<T>, ApiError>>>(
    list: List,
    limit: u32,
    mut after: Option<PageCursor>,
    read: impl Fn(Option<PageCursor>, u32) -> F,
    cursor_of: impl Fn(&T) -> PageCursor,
) -> Result<Page<T>, ApiError> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    loop {
        // One more than the page has: it means that there is a next page.
        let left = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        let step = STEP.min(left + 1);
        let found = read(after.take(), step).await?;
        let is_last = found.len() < step as usize;
        for item in found {
            bytes += json_bytes(&item)?;
            let is_full = items.len() == limit as usize || bytes > PAGE_BYTES;
            if let Some(last) = items.last().filter(|_| is_full) {
                let next_cursor = Some(cursor_of(last).encode(list));
                return Ok(Page { items, next_cursor });
            }
            items.push(item);
        }
        if is_last {
            return Ok(Page { items, next_cursor: None });
        }
        after = items.last().map(&cursor_of);
    }
}

/// The length of an item as JSON.
fn json_bytes(item: &impl Serialize) -> Result<usize, ApiError> {
    struct Counted(usize);

    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, item).map_err(|error| ServiceError::Internal(error.into()))?;
    Ok(counted.0)
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use jiff::Timestamp;

    use super::*;

    fn position(item: &str) -> PageCursor {
        PageCursor { at: Timestamp::UNIX_EPOCH, id: item[..8].to_owned() }
    }

    /// Items with these lengths as JSON, each beginning with its number.
    fn items(lengths: &[usize]) -> Vec<String> {
        let item = |(number, length): (usize, &usize)| format!("{number:08}{}", "x".repeat(length - 10));
        lengths.iter().enumerate().map(item).collect()
    }

    /// The numbers of items on each page of a list, and the steps in which they were read. Checks that the pages have all items once.
    async fn pages(list: &[String], limit: u32) -> (Vec<usize>, Vec<usize>) {
        let steps = RefCell::new(Vec::new());
        let read = |after: Option<PageCursor>, most: u32| {
            let begin = after.map_or(0, |after| after.id.parse::<usize>().unwrap() + 1);
            let found: Vec<String> = list[begin..].iter().take(most as usize).cloned().collect();
            steps.borrow_mut().push(found.len());
            async { Ok::<_, ApiError>(found) }
        };
        let (mut all, mut numbers, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let last = |item: &String| position(item);
            let page = read_page(List::Subjects, limit, after.take(), read, last).await.unwrap();
            numbers.push(page.items.len());
            all.extend(page.items);
            let Some(next) = page.next_cursor else { break };
            after = Some(cursor_of(List::Subjects, &next).unwrap());
        }
        assert!(all == list, "{numbers:?}");
        (numbers, steps.into_inner())
    }

    #[tokio::test]
    async fn a_page_ends_at_its_bytes_and_the_next_one_has_the_rest() {
        let quarter = PAGE_BYTES / 4;
        let list = items(&[quarter, quarter, quarter, quarter, quarter, 3 * quarter, 9 * quarter, 12, 12]);
        assert_eq!(pages(&list, 1000).await.0, [4, 2, 1, 2], "one that is longer than a page is alone");
        assert_eq!(pages(&list, 3).await.0, [3, 2, 1, 1, 2]);
    }

    #[tokio::test]
    async fn a_page_ends_at_its_limit() {
        let list = items(&[20; 300]);
        assert_eq!(pages(&list, 1000).await, (vec![300], vec![128, 128, 44]));
        assert_eq!(pages(&list, 128).await.0, [128, 128, 44]);
        assert_eq!(pages(&list, 127).await, (vec![127, 127, 46], vec![128, 128, 46]));
        assert_eq!(pages(&list, 300).await.0, [300]);
        assert_eq!(pages(&[], 5).await.0, [0]);
    }
}
