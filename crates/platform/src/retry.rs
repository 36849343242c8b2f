//! Pauses before a retry: exponential backoff, and what a server asks for.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// Longest pause that a server can ask for.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The pause that a server asks for: seconds, or a date. A date that has passed is no pause. `None` without the header, and if it is
/// neither. At most a year, which can be added to any time.
pub fn after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // It may be more than a number can hold.
        return Some(text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default().min(LONGEST))
}

/// Pauses that double from `first` to `longest`. Jitter shortens each by up to half, so that replicas do not retry together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Pauses from `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, next: first, longest }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.longest);
        // The clock's nanoseconds are random enough for jitter.
        let nanos = SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
        pause / 2 + pause.mul_f64(f64::from(nanos % 1000) / 2000.0)
    }

    /// Starts again with the first pause; call it after a success.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_in_seconds_or_until_a_date() {
        let pause = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            after(&headers)
        };
        assert_eq!(pause("30"), Some(Duration::from_secs(30)));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
        let seconds = pause(&date).unwrap().as_secs();
        assert!((85..=90).contains(&seconds), "{date}: {seconds}");
        // The three forms of RFC 9110.
        for passed in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(pause(passed), Some(Duration::ZERO), "{passed}");
        }
        for long in ["99999999999999999999", "1000000000", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(pause(long), Some(LONGEST), "{long}");
        }
        for text in ["soon", "-1", "1.5", ""] {
            assert_eq!(pause(text), None, "{text}");
        }
        assert_eq!(after(&HeaderMap::new()), None);
    }

    #[test]
    fn pauses_grow_to_the_longest_and_start_again_after_success() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        let pauses: Vec<Duration> = (0..10).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= first / 2 && pauses[0] <= first);
        assert!(pauses[9] >= longest / 2 && pauses[9] <= longest);
        backoff.reset();
        assert!(backoff.pause() <= first);
    }
}
