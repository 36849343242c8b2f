//! A request body with a minimum transfer rate. A client that sends more slowly gets 408.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// Minimum transfer rate of a request body. Only the time that the service waits for the client counts.
#[derive(Debug, Clone, Copy)]
pub struct MinRate {
    /// Longest single pause. Every body also gets this much waiting time in addition to the time for its bytes.
    pub grace: Duration,
    /// Bytes per second of waiting time beyond the grace.
    pub bytes_per_second: u32,
}

/// The body arrived below the minimum rate; the rest is not read.
#[derive(Debug, thiserror::Error)]
#[error("the request body arrived too slowly")]
pub struct TooSlow;

impl TooSlow {
    /// Whether `error` is this error or was caused by it.
    pub fn caused(error: &(dyn Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<Self>() {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// Wraps `body` so that it fails with [`TooSlow`] below `rate`.
pub fn with_min_rate<B>(body: B, rate: MinRate) -> Body
where
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    if body.is_end_stream() {
        return Body::empty();
    }
    Body::new(MinRateBody { body: Some(body), rate, arrived: 0, waited: Duration::ZERO, pause: None })
}

struct MinRateBody<B> {
    /// `None` after a failure.
    body: Option<B>,
    rate: MinRate,
    /// Bytes received.
    arrived: u64,
    /// Total of the finished pauses.
    waited: Duration,
    /// The current pause: its start and its deadline.
    pause: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> MinRateBody<B> {
    /// Longest allowed length of a pause that begins now.
    fn allowance(&self) -> Duration {
        let earned = Duration::from_millis(self.arrived * 1000 / u64::from(self.rate.bytes_per_second.max(1)));
        (self.rate.grace + earned).saturating_sub(self.waited).min(self.rate.grace)
    }

    fn record(&mut self, bytes: usize) {
        self.arrived += bytes as u64;
        if let Some((since, _)) = self.pause.take() {
            self.waited += since.elapsed();
        }
    }
}

impl<B> HttpBody for MinRateBody<B>
where
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
            self.record(bytes.unwrap_or(0));
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let allowance = self.allowance();
        let pause = self.pause.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(allowance))));
        ready!(pause.1.as_mut().poll(context));
        self.body = None;
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::StreamExt;
    use futures::stream;

    use super::*;

    const RATE: MinRate = MinRate { grace: Duration::from_millis(400), bytes_per_second: 1000 };

    /// Reads a body of `pieces` pieces of `size` bytes with `pause` before each. Returns the time it took, and whether it
    /// arrived in full.
    async fn sent(pieces: usize, size: usize, pause: Duration) -> (Duration, bool) {
        let pieces = stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Bytes::from(vec![0; size]))
        });
        let (start, mut body) =
            (Instant::now(), with_min_rate(Body::from_stream(pieces.boxed()), RATE).into_data_stream());
        while let Some(piece) = body.next().await {
            if let Err(error) = piece {
                assert!(TooSlow::caused(&error), "{error}");
                assert!(body.next().await.is_none());
                return (start.elapsed(), false);
            }
        }
        (start.elapsed(), true)
    }

    #[tokio::test]
    async fn a_body_below_the_minimum_rate_fails() {
        let short_pause = RATE.grace / 20;
        let (took, complete) = sent(10_000, 1, short_pause).await;
        assert!(!complete, "one byte at a time: {took:?}");
        let (took, complete) = sent(2, 1_000_000, 3 * RATE.grace).await;
        assert!(!complete, "a long pause: {took:?}");
        let (took, complete) = sent(60, 1000, short_pause).await;
        assert!(complete && took >= 2 * RATE.grace, "slow but steady: {took:?}");
    }

    #[tokio::test]
    async fn the_time_of_the_service_does_not_count() {
        let ready = stream::iter((0..4).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"x"))));
        let mut body = with_min_rate(Body::from_stream(ready), RATE).into_data_stream();
        while let Some(piece) = body.next().await {
            piece.unwrap();
            tokio::time::sleep(RATE.grace).await;
        }
    }
}
