//! What clients are told of their limit on requests: the fields `RateLimit` and `RateLimit-Policy` of every answer.
//!
//! Whether a request has room is decided where its caller becomes known; the answer is made elsewhere. So a request carries a
//! place for the decision, and what surrounds all of them reads it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{Extensions, HeaderName, HeaderValue};

use crate::http::error::whole_seconds;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The place for the decision about one request.
#[derive(Clone, Default)]
struct Place(Arc<OnceLock<Room>>);

/// How much room a caller has.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Requests a second.
    pub limit: u32,
    /// How many more may come now.
    pub remaining: u32,
    /// When there is room for all of them again, or, without any, for one.
    pub resets_in: Duration,
}

/// Notes how much room the caller of a request has.
pub fn note(extensions: &Extensions, room: Room) {
    if let Some(Place(place)) = extensions.get() {
        // A request has one caller: the first decision is the one.
        let _ = place.set(room);
    }
}

/// Wraps a request.
pub async fn tell(mut request: Request, next: Next) -> Response {
    let place = Place::default();
    request.extensions_mut().insert(place.clone());
    let mut response = next.run(request).await;
    if let Some(Room { limit, remaining, resets_in }) = place.0.get() {
        let seconds = whole_seconds(*resets_in);
        let fields = [
            (RATE_LIMIT, format!("\"requests\";r={remaining};t={seconds}")),
            (POLICY, format!("\"requests\";q={limit};w=1")),
        ];
        for (name, text) in fields {
            if let Ok(value) = HeaderValue::try_from(text) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    response
}
