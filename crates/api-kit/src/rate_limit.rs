//! The response headers `RateLimit` and `RateLimit-Policy`: the remaining requests of the caller.
//!
//! The state is available after the handler's arguments have authenticated the caller, and the
//! middleware around the handler sets the headers. A slot in the request passes the state from one
//! to the other.

use std::fmt::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use crate::error::whole_seconds;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The slot for the state of one request.
#[derive(Clone, Default)]
pub struct RateLimitSlot(Arc<OnceLock<RateLimitState>>);

/// The rate limit of a caller.
#[derive(Debug, Clone, Copy)]
pub struct RateLimitState {
    /// Requests per second.
    pub limit: u32,
    /// Number of requests that are allowed now.
    pub remaining: u32,
    /// Time until the full number of requests is allowed again; if none remain, until one is allowed.
    pub resets_in: Duration,
}

/// Stores the state for the response to this request. Later calls do nothing, because a request has one caller.
pub fn set(extensions: &Extensions, state: RateLimitState) {
    if let Some(RateLimitSlot(slot)) = extensions.get() {
        let _ = slot.set(state);
    }
}

impl RateLimitSlot {
    /// Adds a slot to a request.
    pub fn insert(request: &mut Request) -> Self {
        let slot = Self::default();
        request.extensions_mut().insert(slot.clone());
        slot
    }

    /// Sets the two headers of the response, if the caller has a rate limit.
    pub fn rate_limit_headers(&self, headers: &mut HeaderMap) {
        if let Some((limit, policy)) = self.0.get().and_then(header_values) {
            headers.insert(RATE_LIMIT, limit);
            headers.insert(POLICY, policy);
        }
    }
}

/// Both values in one allocation, because every response to an authenticated request has them.
fn header_values(state: &RateLimitState) -> Option<(HeaderValue, HeaderValue)> {
    let RateLimitState { limit, remaining, resets_in } = state;
    let mut text = BytesMut::with_capacity(96);
    write!(text, "\"requests\";r={remaining};t={}", whole_seconds(*resets_in)).ok()?;
    let end = text.len();
    write!(text, "\"requests\";q={limit};w=1").ok()?;
    let mut text: Bytes = text.freeze();
    let policy = text.split_off(end);
    Some((HeaderValue::from_maybe_shared(text).ok()?, HeaderValue::from_maybe_shared(policy).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_are_structured_fields() {
        let state = RateLimitState { limit: 50, remaining: 49, resets_in: Duration::from_millis(20) };
        let (limit, policy) = header_values(&state).unwrap();
        assert_eq!(limit, "\"requests\";r=49;t=1");
        assert_eq!(policy, "\"requests\";q=50;w=1");
    }
}
