//! Parameters of the query that several routes have, and forms. Each refuses an invalid value with a problem that says what is allowed.

pub mod attributes;
pub mod form;

use api_kit::error::ApiError;
use api_kit::extract::{DEFAULT_LIMIT, cursor_of, limit, read_page};
use contracts::api::Page;
use contracts::{StreamName, whole_microseconds};
use jiff::{SignedDuration, Timestamp};
use platform::query::{Invalid, Parameters, Query};
use serde::Serialize;
use store::{List, PageCursor, PageRequest};

/// Maximum time by which a camera's clock may be ahead of the server's.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(1);

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
    /// Most items of a page. A page with long items ends earlier, at about 1 MiB.
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
    /// The page, which ends early if its items are long. `read` reads a part of it from the store.
    ///
    /// # Errors
    /// When the cursor is not one of this list, or as `read`.
    pub async fn page<T: Serialize, F: Future<Output = Result<Vec<T>, ApiError>>>(
        &self,
        list: List,
        read: impl Fn(PageRequest) -> F,
        position: impl Fn(&T) -> PageCursor,
    ) -> Result<Page<T>, ApiError> {
        let after = self.cursor.as_deref().map(|text| cursor_of(list, text)).transpose()?;
        read_page(list, self.limit, after, |after, limit| read(PageRequest::Newest { after, limit }), position).await
    }
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
