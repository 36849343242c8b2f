//! What a request for a file gets: the whole, one range, or only a status (RFC 9110, sections 13 and 14).
//!
//! In: the headers of a GET or HEAD, and the entity tag and the length of the file. Out: an [`Answer`]. Guarantees: a range lies within the
//! file; a header that is malformed, repeated or asks for several ranges gets the whole file, as if it were not there; a range is only sent
//! of the version that `If-Range` names. The file has no date, so a condition with a date never holds.

use std::ops::Range;

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What the request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200 with all bytes.
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 304: the client has this version.
    NotModified,
    /// 412: the client wants another version.
    OtherVersion,
    /// 416: the file has none of the bytes.
    OutOfRange,
}

/// The answer to a request for a file of `length` bytes. `etag` is strong and has its quotes.
pub fn answer(method: &Method, headers: &HeaderMap, etag: &str, length: u64) -> Answer {
    let etag = etag.as_bytes();
    if headers.contains_key(IF_MATCH) && !names(headers, &IF_MATCH, |tag| !tag.weak && tag.quoted == etag) {
        return Answer::OtherVersion;
    }
    if names(headers, &IF_NONE_MATCH, |tag| tag.quoted == etag) {
        return Answer::NotModified;
    }
    // Ranges are defined for GET alone.
    if method != Method::GET || !is_same_version(headers, etag) {
        return Answer::Whole;
    }
    only(headers, &RANGE).map_or(Answer::Whole, |range| range_of(range.as_bytes(), length))
}

/// The value of a header that occurs once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether `If-Range` is missing or names this version.
fn is_same_version(headers: &HeaderMap, etag: &[u8]) -> bool {
    !headers.contains_key(IF_RANGE)
        || only(headers, &IF_RANGE).is_some_and(|value| value.as_bytes().trim_ascii() == etag)
}

/// Whether a header names any version by `*`, or one that matches.
fn names(headers: &HeaderMap, name: &HeaderName, matches: impl Fn(&Tag<'_>) -> bool) -> bool {
    headers.get_all(name).iter().any(|value| {
        let value = value.as_bytes().trim_ascii();
        value == b"*" || Tags(value).any(|tag| matches(&tag))
    })
}

/// An entity tag.
struct Tag<'a> {
    weak: bool,
    /// With its quotes.
    quoted: &'a [u8],
}

/// The entity tags of a list, up to the first that is malformed.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let begin = self.0.iter().position(|byte| !b" \t,".contains(byte))?;
        let text = &self.0[begin..];
        let after_weak = text.strip_prefix(b"W/");
        let quoted = after_weak.unwrap_or(text);
        let inner = quoted.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| *byte == b'"')?;
        self.0 = &inner[end + 1..];
        Some(Tag { weak: after_weak.is_some(), quoted: &quoted[..end + 2] })
    }
}

/// The answer to the value of `Range`.
fn range_of(value: &[u8], length: u64) -> Answer {
    let Some(equals) = value.iter().position(|byte| *byte == b'=') else { return Answer::Whole };
    if !value[..equals].trim_ascii().eq_ignore_ascii_case(b"bytes") {
        return Answer::Whole;
    }
    let parts = value[equals + 1..].split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let mut parts = parts.filter(|part| !part.is_empty());
    match (parts.next(), parts.next()) {
        (Some(part), None) => one_range(part, length),
        _ => Answer::Whole,
    }
}

/// The answer to one range: `first-last`, `first-` or `-length`.
fn one_range(text: &[u8], length: u64) -> Answer {
    let Some(dash) = text.iter().position(|byte| *byte == b'-') else { return Answer::Whole };
    let (first, last) = (&text[..dash], &text[dash + 1..]);
    let range = match (first.is_empty(), last.is_empty()) {
        (true, true) => return Answer::Whole,
        (true, false) => {
            let Some(suffix) = number(last) else { return Answer::Whole };
            length.saturating_sub(suffix)..length
        }
        (false, true) => {
            let Some(first) = number(first) else { return Answer::Whole };
            first..length
        }
        (false, false) => {
            let (Some(first), Some(last)) = (number(first), number(last)) else { return Answer::Whole };
            if last < first {
                return Answer::Whole;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    if range.is_empty() { Answer::OutOfRange } else { Answer::Part(range) }
}

/// A number of digits. One that does not fit is larger than any file.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"abc\"";

    fn asked(headers: &[(HeaderName, &'static str)], length: u64) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_static(value));
        }
        answer(&Method::GET, &map, ETAG, length)
    }

    fn range(value: &'static str, length: u64) -> Answer {
        asked(&[(RANGE, value)], length)
    }

    #[test]
    fn one_range_is_cut_to_the_file() {
        for (value, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-9", 0..10),
            ("bytes=3-", 3..10),
            ("bytes=-4", 6..10),
            ("bytes=-40", 0..10),
            ("bytes=9-99999999999999999999999", 9..10),
            ("Bytes = 2-3 ,", 2..4),
        ] {
            assert_eq!(range(value, 10), Answer::Part(expected), "{value}");
        }
    }

    #[test]
    fn a_range_outside_of_the_file_is_refused() {
        for value in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(range(value, 10), Answer::OutOfRange, "{value}");
        }
        assert_eq!(range("bytes=0-", 0), Answer::OutOfRange);
    }

    #[test]
    fn several_ranges_and_malformed_ones_get_the_whole() {
        for value in
            ["bytes=0-1,3-4", "bytes=", "bytes=-", "bytes=4-2", "bytes=a-b", "bytes=1", "rows=0-1", "0-1", "bytes=+1-2"]
        {
            assert_eq!(range(value, 10), Answer::Whole, "{value}");
        }
        assert_eq!(asked(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=0-1")], 10), Answer::Whole);
    }

    #[test]
    fn a_range_of_another_version_gets_the_whole() {
        let part = Answer::Part(0..2);
        for (value, expected) in [
            ("\"abc\"", part),
            ("\"abd\"", Answer::Whole),
            ("W/\"abc\"", Answer::Whole),
            ("Tue, 29 Oct 2024 16:56:32 GMT", Answer::Whole),
        ] {
            assert_eq!(asked(&[(RANGE, "bytes=0-1"), (IF_RANGE, value)], 10), expected, "{value}");
        }
        assert_eq!(asked(&[(RANGE, "bytes=0-1"), (IF_RANGE, ETAG), (IF_RANGE, ETAG)], 10), Answer::Whole);
    }

    #[test]
    fn a_version_that_the_client_has_is_not_sent() {
        for value in ["\"abc\"", "W/\"abc\"", "\"a,b\", \"abc\"", "*", " , \"abc\""] {
            assert_eq!(asked(&[(IF_NONE_MATCH, value), (RANGE, "bytes=0-1")], 10), Answer::NotModified, "{value}");
        }
        for value in ["\"abd\"", "abc", "\"abc", ""] {
            assert_eq!(asked(&[(IF_NONE_MATCH, value)], 10), Answer::Whole, "{value}");
        }
    }

    #[test]
    fn a_version_that_is_gone_is_refused() {
        assert_eq!(asked(&[(IF_MATCH, "\"abd\"")], 10), Answer::OtherVersion);
        assert_eq!(asked(&[(IF_MATCH, "W/\"abc\"")], 10), Answer::OtherVersion);
        assert_eq!(asked(&[(IF_MATCH, "\"x\", \"abc\"")], 10), Answer::Whole);
        assert_eq!(asked(&[(IF_MATCH, "*")], 10), Answer::Whole);
    }

    #[test]
    fn head_has_no_ranges() {
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-1"))]);
        assert_eq!(answer(&Method::HEAD, &headers, ETAG, 10), Answer::Whole);
    }
}
