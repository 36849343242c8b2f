//! Request bodies with limits on size, time, and the total bytes of all bodies in memory.
//!
//! In: one request, whose caller is authenticated if its route needs a credential. Out: the chunks of its body as they arrive. Guarantees: a
//! body that is too long is refused as soon as its length is declared or reached; one that stalls or takes too long is refused; the bytes
//! of all bodies never exceed a fixed number, and those of one tenant never exceed its share, so slow bodies of one user keep no others out.
//! A declared length is reserved before the first byte, so that the body is not refused after a part of it has arrived; a body without a
//! declared length reserves as it grows.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use metrics::Gauge;
use platform::http::{Tenant, TooSlow};
use tokio::time::Instant;

use crate::describe::ErrorResponse;
use crate::error::HttpError;
use crate::shares::{NotFree, Shares, Units};

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is too long.
    #[error("the body is larger than the limit of {limit} bytes; send a smaller one")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// It stalled or took too long.
    #[error("the body took too long to arrive; send it again without pauses")]
    TooSlow,
    /// The client closed the connection.
    #[error("the connection closed before the end of the body")]
    Incomplete,
    /// Other bodies use all bytes within the limit.
    #[error("too many requests are in progress; try again soon")]
    Busy,
    /// Other bodies of the tenant use its share. Requests without a credential have one together.
    #[error(
        "other requests of the same user, or without a credential, use all the memory for bodies that these may have; send fewer \
         at the same time, and try again when one has its response"
    )]
    ShareInUse,
}

impl HttpError for BodyError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "slow_upload"),
            Self::Incomplete => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::ShareInUse => (StatusCode::TOO_MANY_REQUESTS, "share_in_use"),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        matches!(self, Self::Busy | Self::ShareInUse).then_some(1)
    }
}

impl From<NotFree> for BodyError {
    fn from(not_free: NotFree) -> Self {
        match not_free {
            NotFree::OfTenant => Self::ShareInUse,
            NotFree::OfAll => Self::Busy,
        }
    }
}

/// The error responses to a request with a body.
pub const BODY_ERRORS: [ErrorResponse; 4] = [
    ErrorResponse::new("408", "`slow_upload`: the body took too long to arrive, or came too slowly"),
    ErrorResponse::new("413", "`too_large`: the body is too long"),
    ErrorResponse::new("415", "`unsupported_media_type`: the body's type is not accepted"),
    ErrorResponse::with_retry(
        "503",
        "`unavailable`, `timeout`: not now; `busy`: too many bodies arrive at once, or responses are not read; `disk_full`, `data_folder_lost`: nothing can be stored until the operator acts",
    ),
];

/// The total bytes of all bodies in memory, and their limit. A tenant has at most a share of them. Clones share the bytes.
#[derive(Clone)]
pub struct BytesInFlight(Arc<Shares>);

/// Reserved bytes of [`BytesInFlight`], released on drop.
pub type Reservation = Units;

impl BytesInFlight {
    /// No bytes, of at most `limit`. The share of a tenant is a quarter, or the `largest` body if that is more. The gauge shows them.
    pub fn new(limit: usize, largest: usize, gauge: Gauge) -> Self {
        Self(Shares::new(limit, (limit / 4).max(largest), gauge))
    }
}

/// Limits of a body.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Maximum length in bytes.
    pub bytes: usize,
    /// Maximum pause between two chunks.
    pub idle: Duration,
    /// Maximum time for the whole body.
    pub total: Duration,
}

/// A body while it arrives.
pub struct IncomingBody {
    body: Body,
    limits: BodyLimits,
    declared: Option<usize>,
    arrived: usize,
    deadline: Instant,
    reservation: Reservation,
}

impl IncomingBody {
    /// Reserves the declared length for the tenant of the request, without reading.
    ///
    /// # Errors
    /// When the declared length is over the limit, or more than is left of the bytes in flight or of the tenant's share of them.
    pub fn begin(request: Request, limits: BodyLimits, bytes_in_flight: &BytesInFlight) -> Result<Self, BodyError> {
        let tenant = Tenant::of(request.extensions());
        let body = request.into_body();
        let declared = http_body::Body::size_hint(&body).exact();
        let declared = declared.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if declared.is_some_and(|bytes| bytes > limits.bytes) {
            return Err(BodyError::TooLarge { limit: limits.bytes });
        }
        let reservation = bytes_in_flight.0.take(tenant.name(), declared.unwrap_or(0))?;
        Ok(Self { body, limits, declared, arrived: 0, deadline: Instant::now() + limits.total, reservation })
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// When it does not arrive in time, the body is too long, or the client closed the connection.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let until = self.deadline.min(Instant::now() + self.limits.idle);
            let frame = tokio::time::timeout_at(until, self.body.frame()).await.map_err(|_| BodyError::TooSlow)?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| read_error(&error))?;
            // Trailers are ignored.
            let Ok(chunk) = frame.into_data() else { continue };
            self.arrived += chunk.len();
            if self.arrived > self.limits.bytes {
                return Err(BodyError::TooLarge { limit: self.limits.bytes });
            }
            self.reservation.grow_to(self.arrived)?;
            return Ok(Some(chunk));
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn collect(self) -> Result<Bytes, BodyError> {
        self.collect_reserved().await.map(|(bytes, _)| bytes)
    }

    /// The whole body, with its reservation, which the caller keeps as long as the bytes.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub async fn collect_reserved(mut self) -> Result<(Bytes, Reservation), BodyError> {
        let mut buffer = BodyBuffer::new(self.declared);
        while let Some(chunk) = self.chunk().await? {
            buffer.push(chunk);
        }
        Ok((buffer.into_bytes(), self.reservation))
    }

    /// The declared length in bytes.
    pub const fn declared(&self) -> Option<usize> {
        self.declared
    }

    /// The reservation, which the caller keeps as long as the bytes.
    pub fn into_reservation(self) -> Reservation {
        self.reservation
    }
}

fn read_error(error: &axum::Error) -> BodyError {
    if TooSlow::caused(error) {
        return BodyError::TooSlow;
    }
    BodyError::Incomplete
}

/// Collects chunks. A single chunk is not copied.
pub struct BodyBuffer {
    expected: Option<usize>,
    content: Content,
}

enum Content {
    One(Bytes),
    Many(BytesMut),
}

impl BodyBuffer {
    /// An empty buffer; `expected` is the declared length, if it is known and within the limit.
    pub const fn new(expected: Option<usize>) -> Self {
        Self { expected, content: Content::One(Bytes::new()) }
    }

    /// Appends a chunk.
    pub fn push(&mut self, chunk: Bytes) {
        match &mut self.content {
            Content::One(first) if first.is_empty() => *first = chunk,
            Content::One(first) => {
                let length = first.len() + chunk.len();
                let mut all = BytesMut::with_capacity(self.expected.unwrap_or(0).max(length));
                all.extend_from_slice(first);
                all.extend_from_slice(&chunk);
                self.content = Content::Many(all);
            }
            Content::Many(all) => all.extend_from_slice(&chunk),
        }
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::One(bytes) => bytes,
            Content::Many(bytes) => bytes,
        }
    }

    /// All bytes.
    pub fn into_bytes(self) -> Bytes {
        match self.content {
            Content::One(bytes) => bytes,
            Content::Many(bytes) => bytes.freeze(),
        }
    }
}
