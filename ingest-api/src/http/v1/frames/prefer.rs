//! `Prefer: wait=N` (RFC 7240). An invalid preference is ignored, as the RFC requires.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The time that the client is willing to wait, according to its first valid preference.
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(PREFER).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        value.trim().trim_matches('"').parse().ok().map(Duration::from_secs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_found_among_others_and_ignored_when_invalid() {
        for (header, expected) in [
            ("wait=5", Some(5)),
            ("respond-async, Wait = \"10\"; x=y", Some(10)),
            ("wait=soon", None),
            ("wait=-1", None),
            ("wait", None),
            ("return=minimal", None),
        ] {
            let headers = HeaderMap::from_iter([(PREFER, header.parse().unwrap())]);
            assert_eq!(wait(&headers), expected.map(Duration::from_secs), "{header}");
        }
    }
}
