//! Deadlines of calls: the header `grpc-timeout`, and the limit for calls whose client sets none.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// Header of requests.
const TIMEOUT: &str = "grpc-timeout";
/// Most digits that the protocol allows.
const MAX_DIGITS: usize = 8;

/// The deadline that the client of a call has set. It is in the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

/// The header is not a timeout.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidTimeout;

impl Deadline {
    /// That of a request with these headers.
    ///
    /// # Errors
    /// When the header is not a timeout.
    pub fn of(headers: &HeaderMap) -> Result<Self, InvalidTimeout> {
        let Some(value) = headers.get(TIMEOUT) else { return Ok(Self(None)) };
        let timeout = value.to_str().ok().and_then(parse).ok_or(InvalidTimeout)?;
        // A moment so late that the clock has no name for it is none.
        Ok(Self(Instant::now().checked_add(timeout)))
    }

    /// The time until the deadline; `None` if the client has set none.
    pub fn left(&self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// The deadline, or `limit` from now on if there is none.
    pub fn or_within(self, limit: Option<Duration>) -> Option<Instant> {
        self.0.or_else(|| Instant::now().checked_add(limit?))
    }
}

/// A number of up to eight digits and a unit, such as `100m`.
fn parse(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let digits = text.get(..unit_at)?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(number * 3600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_timeout_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("400m", Duration::from_millis(400)),
            ("5u", Duration::from_micros(5)),
            ("99999999n", Duration::from_nanos(99_999_999)),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for wrong in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "123456789S", "1ü", "ü"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_call_without_a_deadline_has_the_limit() {
        let none = Deadline::of(&HeaderMap::new()).unwrap();
        assert_eq!((none.left(), none.or_within(None)), (None, None));
        assert!(none.or_within(Some(Duration::from_secs(60))).is_some());
        let headers = |text| HeaderMap::from_iter([(http::HeaderName::from_static(TIMEOUT), text)]);
        let set = Deadline::of(&headers(HeaderValue::from_static("9S"))).unwrap();
        assert!(set.left().is_some_and(|left| left > Duration::from_secs(8) && left <= Duration::from_secs(9)));
        assert!(set.or_within(Some(Duration::from_secs(1))) > Some(Instant::now() + Duration::from_secs(8)));
        assert_eq!(Deadline::of(&headers(HeaderValue::from_static("soon"))), Err(InvalidTimeout));
    }
}
