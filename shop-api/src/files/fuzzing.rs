//! Fuzz target of this module: a function that takes any bytes and panics where a guarantee is broken. `scripts/fuzz` runs it on generated
//! inputs, the test below on the inputs in `fuzz/corpus`. Compiled only for fuzzing and tests.

use contracts::Currency;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::conditions::{Answer, answer};
use super::metadata::Described;
use super::tus::{self, Checksum};

/// Longest reason of a refusal, in bytes.
const LONGEST_REASON: usize = 1_024;
/// The version of the file that is asked for.
const ETAG: &str = "\"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"";

/// The headers of a request about a file: the method and the length of the file in the first line, then one header a line. A range lies
/// within the file, and what tus reads of a header is what its text says; a refusal has a short reason.
pub fn file_headers(data: &[u8]) {
    let Some((method, length, headers)) = request(data) else { return };
    check_answer(&method, &headers, length);
    check_numbers(&headers);
    check_metadata(&headers);
    if let Ok(Some(mut checksum)) = Checksum::of(&headers).inspect_err(|refused| check_reason(&refused.to_string())) {
        checksum.update(data);
        // No input has a checksum of itself.
        assert!(checksum.check().is_err());
    }
}

fn request(data: &[u8]) -> Option<(Method, u64, HeaderMap)> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (method, length) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?);
    }
    Some((method.parse().ok()?, length.parse().ok()?, headers))
}

fn check_answer(method: &Method, headers: &HeaderMap, length: u64) {
    let found = answer(method, headers, ETAG, length);
    assert_eq!(found, answer(method, headers, ETAG, length));
    match found {
        Answer::Part(range) => {
            assert!(method == Method::GET && range.start < range.end && range.end <= length, "{range:?} of {length}");
        }
        Answer::OutOfRange => assert_eq!(method, Method::GET),
        Answer::Whole | Answer::NotModified | Answer::OtherVersion => {}
    }
}

/// A number is the one that its text says.
fn check_numbers(headers: &HeaderMap) {
    for (name, read) in
        [(tus::UPLOAD_OFFSET, tus::offset(headers).map(Some)), (tus::UPLOAD_LENGTH, tus::length(headers))]
    {
        match read {
            Ok(Some(number)) => {
                let text = headers.get(&name).and_then(|value| value.to_str().ok()).unwrap_or_default();
                assert_eq!(text.trim_start_matches('0'), number.to_string().trim_start_matches('0'), "{name}");
            }
            Ok(None) => assert!(!headers.contains_key(&name)),
            Err(refused) => check_reason(&refused.to_string()),
        }
    }
    if let Err(refused) = tus::new_length(headers) {
        check_reason(&refused.to_string());
    }
}

/// Metadata survives its header, and names a book or is refused.
fn check_metadata(headers: &HeaderMap) {
    let pairs = match tus::metadata(headers) {
        Ok(pairs) => pairs,
        Err(refused) => return check_reason(&refused.to_string()),
    };
    assert!(pairs.len() <= tus::MAX_METADATA);
    let encoded = tus::encode_metadata(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let again = HeaderMap::from_iter(encoded.map(|value| (tus::UPLOAD_METADATA, value)));
    assert_eq!(tus::metadata(&again).ok().as_ref(), Some(&pairs));
    if let Err(refused) = Described::parse(pairs, Currency::EUR) {
        assert!(refused.status().is_client_error(), "{refused}");
        check_reason(&refused.to_string());
    }
}

fn check_reason(reason: &str) {
    assert!(reason.len() <= LONGEST_REASON && !reason.contains(char::is_control), "{} bytes: {reason:?}", reason.len());
}

#[cfg(test)]
mod tests {
    use crate::replay::replay;

    #[test]
    fn headers_about_files_are_read_as_they_are_written() {
        replay("file_headers", super::file_headers);
    }
}
