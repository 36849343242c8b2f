//! What handlers read from a call, and how they answer it.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use api_kit::error::{ApiError, RequestError, ServiceError};
use api_kit::extract::cursor_of;
use contracts::{Currency, Money};
use store::{List, PageCursor};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response};

use super::Answer;
use crate::Viewer;
use crate::app::{DEFAULT_PAGE, MAX_PAGE};
use crate::grpc::{Deadline, status_of};

/// How long a call without a deadline waits for its book.
const WAIT: Duration = Duration::from_secs(30);
/// The longest wait, whatever the deadline.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Time for the answer before the deadline.
const MARGIN: Duration = Duration::from_millis(500);

/// The answer to a call.
pub fn answer<T>(result: Result<T, ApiError>) -> Answer<T> {
    result.map(Response::new).map_err(status_of)
}

/// Who calls.
///
/// # Errors
/// When the access layer has not run, which is a defect.
pub fn viewer<T>(request: &Request<T>) -> Result<Viewer, ApiError> {
    let viewer = request.extensions().get::<Viewer>().cloned();
    viewer.ok_or_else(|| ServiceError::Internal(anyhow::anyhow!("the access layer has not named the caller")).into())
}

/// How long the call may wait for its book: up to its deadline, or 30 seconds without one.
pub fn wait<T>(request: &Request<T>) -> Duration {
    let left = request.extensions().get::<Deadline>().and_then(Deadline::left);
    left.map_or(WAIT, |left| left.saturating_sub(MARGIN).min(LONGEST_WAIT))
}

/// An invalid field.
pub fn invalid(field: &str, reason: impl Display) -> ApiError {
    RequestError::Invalid(format!("{field}: {reason}")).into()
}

/// The value of a field.
///
/// # Errors
/// When it is not valid.
pub fn parsed<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|error| invalid(field, error))
}

/// A text that may be missing: in the protos it is empty then.
pub fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// The size of a page. Larger ones than allowed are reduced, as clients of gRPC expect.
///
/// # Errors
/// When it is negative.
pub fn page_size(size: i32) -> Result<u32, ApiError> {
    match u32::try_from(size) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
        Err(_) => Err(invalid("page_size", format_args!("must be from 1 to {MAX_PAGE}, or 0 for {DEFAULT_PAGE}"))),
    }
}

/// The end of the previous page.
///
/// # Errors
/// When it is not one of this list.
pub fn page_token(list: List, token: &str) -> Result<Option<PageCursor>, ApiError> {
    if token.is_empty() {
        return Ok(None);
    }
    cursor_of(list, token).map(Some).map_err(|error| invalid("page_token", error))
}

/// A price. Without a currency it is in that of the shop; without a currency and an amount there is no price.
///
/// # Errors
/// When there is no such currency.
pub fn price(minor: Option<i64>, currency: &str, of_shop: Currency) -> Result<Option<Money>, ApiError> {
    let Some(minor) = minor.filter(|minor| *minor != 0 || !currency.is_empty()) else { return Ok(None) };
    let currency = if currency.is_empty() { of_shop } else { parsed("currency", currency)? };
    Ok(Some(Money { minor, currency }))
}

/// A value of the metadata that may be missing.
///
/// # Errors
/// When it is given twice.
pub fn metadata<'a>(metadata: &'a MetadataMap, name: &'static str) -> Result<Option<&'a str>, ApiError> {
    let mut values = metadata.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        // Whoever reads it refuses an empty one.
        (Some(value), None) => Ok(Some(value.to_str().unwrap_or_default())),
        (Some(_), Some(_)) => Err(invalid(name, "is given twice; send it once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_default_and_a_bound() {
        let sizes = [0, 1, 50, 51, i32::MAX].map(|size| page_size(size).ok());
        assert_eq!(sizes, [Some(20), Some(1), Some(50), Some(50), Some(50)]);
        assert_eq!(page_size(-1).map_err(|error| error.code()), Err("invalid"));
    }

    #[test]
    fn a_price_without_a_currency_is_in_that_of_the_shop() {
        let money = |minor, currency: &str| Money { minor, currency: currency.parse().unwrap() };
        let read = |minor, currency| price(minor, currency, Currency::EUR).map_err(|error| error.code());
        assert_eq!(read(Some(1299), ""), Ok(Some(money(1299, "EUR"))));
        assert_eq!(read(Some(1299), "JPY"), Ok(Some(money(1299, "JPY"))));
        // Whether a price of nothing is allowed is for the shop to say.
        assert_eq!(read(Some(0), "EUR"), Ok(Some(money(0, "EUR"))));
        assert_eq!((read(Some(0), ""), read(None, "EUR")), (Ok(None), Ok(None)));
        assert_eq!(read(Some(1), "EURO"), Err("invalid"));
    }

    #[test]
    fn a_token_of_another_list_is_refused_by_its_field() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let token = PageCursor { at, id: "7".to_owned() }.encode(List::Books);
        assert!(page_token(List::Books, &token).unwrap().is_some());
        for (list, token) in [(List::Orders, token.as_str()), (List::Books, "x")] {
            let refused = page_token(list, token).map_err(|error| error.to_string()).unwrap_err();
            assert!(refused.starts_with("page_token: "), "{refused}");
        }
        assert_eq!(page_token(List::Books, "").unwrap(), None);
    }
}
