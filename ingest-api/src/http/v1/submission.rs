//! Shared by `POST /v1/frames` and `POST /v1/detections`: the id, the charge against the quota, and publishing.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::Duration;

use accounts::Caller;
use api_kit::describe::ErrorResponse;
use api_kit::error::{ApiError, HttpError, ServiceError};
use bus::BusError;
use contracts::{Event, FrameId, Message, TopicRole};
use http::{HeaderMap, HeaderName, StatusCode};
use platform::traces::Span;
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};

use crate::http::app::App;
use crate::recent_keys::KeyClaim;

/// Identifies a frame, so that a repeated request is the same frame.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Why a frame or a detection is refused.
#[derive(Debug, thiserror::Error)]
pub enum SubmissionError {
    /// The idempotency key was used for another request.
    #[error(
        "this idempotency key was used with another image, body or parameters; repeat that request, or use a new key"
    )]
    KeyReused,
    /// The workers are too far behind.
    #[error("the detectors are too far behind to accept more frames; try again later")]
    Backlog,
}

impl HttpError for SubmissionError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Self::Backlog => (StatusCode::SERVICE_UNAVAILABLE, "backlog"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::KeyReused => None,
            Self::Backlog => Some(30),
        }
    }
}

/// The error responses that differ from those of other requests.
pub struct SubmissionErrors;

impl IntoResponses for SubmissionErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        [
            ErrorResponse::new(
                "422",
                "`invalid`: a value is out of its range; `unknown_detector`: the service has no such detector; `empty_body`, \
                 `invalid_image`, `image_too_large`: no accepted image; `idempotency_key_reused`: the key was used with another image, \
                 body or parameters",
            ),
            ErrorResponse::with_header(
                "429",
                "`quota_exceeded`: the quota is used up; `rate_limited`: too many requests; `share_in_use`: too many at the same time",
                "Retry-After",
                "Seconds after which to try again; missing for a quota without a period",
            ),
            ErrorResponse::with_retry(
                "503",
                "`unavailable`, `timeout`: not now; `busy`: too many bodies arrive at once; `backlog`: no more frames until the \
                 detectors catch up; `disk_full`, `data_folder_lost`: nothing can be stored until the operator acts",
            ),
        ]
        .into_iter()
        .map(ErrorResponse::problem)
        .collect()
    }
}

/// The id of the frame or detection: the same tenant and key always give the same id.
///
/// # Errors
/// When the idempotency key is invalid.
pub fn frame_id(headers: &HeaderMap, caller: &Caller) -> Result<FrameId, ApiError> {
    match headers.get(IDEMPOTENCY_KEY) {
        None => Ok(FrameId::now()),
        Some(key) => Ok(FrameId::from_idempotency_key(&caller.tenant, key.to_str().unwrap_or_default())?),
    }
}

/// Claims the idempotency key of a request that has one.
///
/// # Errors
/// When the key is that of a different request.
pub fn claim(app: &App, has_key: bool, frame: FrameId, request: impl Hash) -> Result<KeyClaim<'_>, SubmissionError> {
    if !has_key {
        return Ok(KeyClaim::default());
    }
    app.recent_keys.claim(frame, request).ok_or(SubmissionError::KeyReused)
}

/// The W3C trace context: that of the request's span, or without traces that of the client. An invalid one is ignored.
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    platform::http::traceparent(headers).map(str::to_owned)
}

/// The span of an event that is sent about a frame, and the `traceparent` that the event carries: that of the span, or without traces
/// that of the client.
pub fn sending(app: &App, name: &'static str, frame: FrameId, traceparent: Option<&String>) -> (Span, Option<String>) {
    let mut span = app.traces.producer(name, traceparent.map(String::as_str));
    span.set_id("frame.id", frame);
    let own = span.traceparent().or_else(|| traceparent.cloned());
    (span, own)
}

/// Charges a frame and runs `publishing`. When that fails, the frame is refunded.
///
/// # Errors
/// When the quota is used up, or the error of `publishing`.
pub async fn charged(
    app: &App,
    caller: &Caller,
    frame: FrameId,
    publishing: impl Future<Output = Result<(), ApiError>>,
) -> Result<(), ApiError> {
    app.accounts.charge(caller, frame).await?;
    let published = publishing.await;
    if published.is_err()
        && let Err(error) = app.accounts.refund(caller, frame).await
    {
        tracing::warn!(frame.id = %frame, error = error.to_string(), "a refused frame stays charged");
    }
    published
}

/// Publishes an event and waits until the broker has stored it, at most for `ack_timeout`. `span` ends with that.
///
/// # Errors
/// When the broker did not store it, or did not acknowledge in time. The client then repeats the request: under the same
/// idempotency key, an event that was stored after all is the same frame. The key stays taken for that, unless the broker
/// certainly has not stored the event.
pub async fn publish<E: Event>(
    app: &App,
    event: &E,
    ack_timeout: Duration,
    key: &mut KeyClaim<'_>,
    span: Span,
) -> Result<(), ApiError> {
    let message = event.to_message();
    let mut span = span;
    span.set_count("messaging.message.body.size", message.value.len());
    let published = acknowledged(app, E::ROLE, message, ack_timeout, key).await;
    if published.is_err() {
        span.fail("not_acknowledged");
    }
    published
}

async fn acknowledged(
    app: &App,
    role: TopicRole,
    message: Message,
    ack_timeout: Duration,
    key: &mut KeyClaim<'_>,
) -> Result<(), ApiError> {
    let acknowledged = app.producer.send(role, message).map_err(ServiceError::from)?;
    key.set_may_be_stored(true);
    match tokio::time::timeout(ack_timeout, acknowledged).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            key.set_may_be_stored(may_be_stored(&error));
            Err(ServiceError::from(error).into())
        }
        Err(_) => {
            let cause = format!("the broker did not acknowledge within {ack_timeout:?}");
            Err(ServiceError::Unavailable(cause).into())
        }
    }
}

/// Whether an event may be stored although its acknowledgement failed with this error.
const fn may_be_stored(error: &BusError) -> bool {
    match error {
        BusError::Unavailable(_) | BusError::Closed | BusError::Fatal(_) => true,
        BusError::QueueFull | BusError::DiskFull(_) | BusError::TooLarge { .. } => false,
    }
}
