//! A request's body on its way in: bounded in size, in time and in what all of them hold together.
//!
//! In: the body of one request. Out: its pieces as they arrive. Promised: a body that is too long is refused as soon as its
//! length is declared or reached; one that stalls or takes too long is given up; what all bodies hold never exceeds a fixed
//! number of bytes. A body whose length is declared reserves it before its first byte, so that what is let in is not turned
//! away halfway; one without a length reserves as it grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use metrics::Gauge;
use platform::http::TooSlow;
use tokio::time::Instant;

use crate::http::ApiError;

/// What a multipart form may have around the image.
pub const MULTIPART_OVERHEAD: usize = 64 << 10;

/// How much all bodies may hold together, and how much they do.
pub struct InFlight {
    limit: usize,
    used: AtomicUsize,
    gauge: Gauge,
}

/// A part of [`InFlight`], given back when dropped.
pub struct Reservation {
    of: Arc<InFlight>,
    bytes: usize,
}

impl InFlight {
    /// Nothing held, and room for `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        let gauge = metrics::gauge!("sightline_ingest_bytes_in_flight");
        Arc::new(Self { limit, used: AtomicUsize::new(0), gauge })
    }

    /// Takes `bytes` out of what is left.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Reservation, ApiError> {
        let mut reservation = Reservation { of: self.clone(), bytes: 0 };
        reservation.grow_to(bytes)?;
        Ok(reservation)
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and memory is far below 2^52 bytes")]
    fn show(&self, used: usize) {
        self.gauge.set(used as f64);
    }
}

impl Reservation {
    fn grow_to(&mut self, bytes: usize) -> Result<(), ApiError> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let fits = |used: usize| used.checked_add(more).filter(|sum| *sum <= self.of.limit);
        let taken = self.of.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        let before = taken.map_err(|_| ApiError::Busy)?;
        self.bytes += more;
        self.of.show(before + more);
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let before = self.of.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.of.show(before.saturating_sub(self.bytes));
    }
}

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most bytes.
    pub bytes: usize,
    /// Longest pause between two pieces.
    pub idle: Duration,
    /// Longest time for all of it.
    pub total: Duration,
}

/// A body while it arrives.
pub struct Upload {
    body: Body,
    bounds: Bounds,
    declared: Option<usize>,
    arrived: usize,
    deadline: Instant,
    reservation: Reservation,
}

impl Upload {
    /// Begins to take a body; nothing is read yet.
    ///
    /// # Errors
    /// When its declared length is too much, for itself or for now.
    pub fn begin(body: Body, bounds: Bounds, in_flight: &Arc<InFlight>) -> Result<Self, ApiError> {
        let declared = http_body::Body::size_hint(&body).exact();
        let declared = declared.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if declared.is_some_and(|bytes| bytes > bounds.bytes) {
            return Err(ApiError::TooLarge { limit: bounds.bytes });
        }
        let reservation = in_flight.reserve(declared.unwrap_or(0))?;
        Ok(Self { body, bounds, declared, arrived: 0, deadline: Instant::now() + bounds.total, reservation })
    }

    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// When it does not come in time, is too much, or the client broke off.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let until = self.deadline.min(Instant::now() + self.bounds.idle);
            let frame = tokio::time::timeout_at(until, self.body.frame()).await.map_err(|_| ApiError::SlowUpload)?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| failed(&error))?;
            // Trailers carry nothing that is wanted.
            let Ok(piece) = frame.into_data() else { continue };
            self.arrived += piece.len();
            if self.arrived > self.bounds.bytes {
                return Err(ApiError::TooLarge { limit: self.bounds.bytes });
            }
            self.reservation.grow_to(self.arrived)?;
            return Ok(Some(piece));
        }
    }

    /// The whole body, for small ones.
    ///
    /// # Errors
    /// As [`Self::piece`].
    pub async fn whole(mut self) -> Result<Bytes, ApiError> {
        let mut gathered = Gathered::new(self.declared);
        while let Some(piece) = self.piece().await? {
            gathered.push(piece);
        }
        Ok(gathered.into_bytes())
    }

    /// How long the body says it is.
    pub const fn declared(&self) -> Option<usize> {
        self.declared
    }

    /// What this body reserved, to be held until its bytes are gone.
    pub fn into_reservation(self) -> Reservation {
        self.reservation
    }
}

fn failed(error: &axum::Error) -> ApiError {
    if TooSlow::caused(error) {
        return ApiError::SlowUpload;
    }
    ApiError::Malformed("the body broke off before its end".to_owned())
}

/// Pieces put together: one alone stays as it came, several are copied once.
pub struct Gathered {
    expected: Option<usize>,
    so_far: SoFar,
}

enum SoFar {
    One(Bytes),
    Many(BytesMut),
}

impl Gathered {
    /// Nothing yet, of how much is to come, if that is known and bounded.
    pub const fn new(expected: Option<usize>) -> Self {
        Self { expected, so_far: SoFar::One(Bytes::new()) }
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: Bytes) {
        match &mut self.so_far {
            SoFar::One(first) if first.is_empty() => *first = piece,
            SoFar::One(first) => {
                let together = first.len() + piece.len();
                let mut all = BytesMut::with_capacity(self.expected.unwrap_or(0).max(together));
                all.extend_from_slice(first);
                all.extend_from_slice(&piece);
                self.so_far = SoFar::Many(all);
            }
            SoFar::Many(all) => all.extend_from_slice(&piece),
        }
    }

    /// What has arrived.
    pub fn bytes(&self) -> &[u8] {
        match &self.so_far {
            SoFar::One(bytes) => bytes,
            SoFar::Many(bytes) => bytes,
        }
    }

    /// What has arrived, for good.
    pub fn into_bytes(self) -> Bytes {
        match self.so_far {
            SoFar::One(bytes) => bytes,
            SoFar::Many(bytes) => bytes.freeze(),
        }
    }
}

/// How long, and how many bytes, a body is read on that nobody wants any more.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

/// The same body, which is read on for a moment when it is dropped before its end.
///
/// A refusal is answered before the body is in. Closing the connection at once would reset it under the client's hands, and
/// many clients then never see the answer; reading on and throwing away lets them.
pub fn lingering(body: Body) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    Body::new(Lingering { body: Some(body) })
}

struct Lingering {
    body: Option<Body>,
}

impl http_body::Body for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else { return std::task::Poll::Ready(None) };
        let polled = std::task::ready!(std::pin::Pin::new(body).poll_frame(context));
        if !matches!(polled, Some(Ok(_))) {
            self.body = None;
        }
        std::task::Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map_or_else(|| http_body::SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !http_body::Body::is_end_stream(body)) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(LINGER, discard(body)));
        }
    }
}

async fn discard(mut body: Body) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > LINGER_BYTES {
            return;
        }
    }
}
