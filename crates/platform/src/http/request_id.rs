//! The id of a request in responses, problems and logs, even in the services that it is forwarded to.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::Request;
use http::{HeaderName, HeaderValue};
use uuid::Uuid;

/// Header of requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is accepted from a client.
const LONGEST: usize = 128;

tokio::task_local! {
    /// Id of the request that this task handles.
    pub static CURRENT: HeaderValue;
}

/// Id of the request that this task handles; `None` outside of requests.
pub fn current() -> Option<String> {
    CURRENT.try_with(|id| id.to_str().unwrap_or_default().to_owned()).ok()
}

/// The id in the request's header if it is valid; else a new one, which replaces the header.
pub fn of(request: &mut Request) -> HeaderValue {
    if let Some(given) = request.headers().get(REQUEST_ID).filter(|given| is_valid(given)) {
        return given.clone();
    }
    let new = HeaderValue::try_from(generate().to_string()).unwrap_or(HeaderValue::from_static("none"));
    request.headers_mut().insert(REQUEST_ID, new.clone());
    new
}

/// A UUIDv7 from a fast generator: the id is not a secret, and the operating system's random numbers cost a system call.
fn generate() -> Uuid {
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

fn is_valid(value: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/=+".contains(byte);
    (1..=LONGEST).contains(&value.len()) && value.as_bytes().iter().all(plain)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn id_of(given: &'static [u8]) -> (HeaderValue, Request) {
        let given = HeaderValue::from_bytes(given).unwrap();
        let mut request = Request::builder().header(REQUEST_ID, given).body(Body::empty()).unwrap();
        (of(&mut request), request)
    }

    #[test]
    fn generated_ids_are_uuids_of_version_7_and_differ() {
        let (one, other) = (generate(), generate());
        assert_eq!((one.get_version_num(), other.get_version_num()), (7, 7));
        assert_ne!(one, other);
    }

    #[test]
    fn a_valid_id_is_kept_and_an_invalid_one_replaced() {
        assert_eq!(id_of(b"a-b_c.7").0, "a-b_c.7");
        for odd in [&b""[..], b"two words", b"\"quoted\"", b"\xfc", &[b'x'; 129]] {
            let (id, request) = id_of(odd);
            assert_eq!(id.len(), 36, "{odd:?}");
            assert_eq!(request.headers().get_all(REQUEST_ID).iter().collect::<Vec<_>>(), [&id]);
        }
    }
}
