//! A request's body that must keep coming: a client that sends it drop by drop is given up.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// How fast a body must come.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Longest silence, and the waiting that every body may cause, however short it is.
    pub grace: Duration,
    /// Bytes a second, beyond the grace. Waiting that the service causes does not count.
    pub bytes_per_second: u32,
}

/// A body came too slowly and was given up.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
pub struct TooSlow;

impl TooSlow {
    /// Whether this is why a body failed.
    pub fn is_behind(error: &(dyn Error + 'static)) -> bool {
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

/// The body, held to a pace.
pub fn paced<B>(body: B, pace: Pace) -> Body
where
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    if body.is_end_stream() {
        return Body::empty();
    }
    Body::new(Paced { body: Some(body), pace, arrived: 0, waited: Duration::ZERO, waiting: None })
}

struct Paced<B> {
    /// Gone after a failure.
    body: Option<B>,
    pace: Pace,
    arrived: u64,
    /// How long the client was waited for, before now.
    waited: Duration,
    /// There while it is waited for: since when, and until when.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> Paced<B> {
    /// How long the client may be waited for now.
    fn left(&self) -> Duration {
        let earned = Duration::from_millis(self.arrived * 1000 / u64::from(self.pace.bytes_per_second.max(1)));
        (self.pace.grace + earned).saturating_sub(self.waited).min(self.pace.grace)
    }

    fn came(&mut self, bytes: usize) {
        self.arrived += bytes as u64;
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
    }
}

impl<B> HttpBody for Paced<B>
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
            self.came(bytes.unwrap_or(0));
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let left = self.left();
        let waiting = self.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(left))));
        ready!(waiting.1.as_mut().poll(context));
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

    const PACE: Pace = Pace { grace: Duration::from_millis(400), bytes_per_second: 1000 };

    /// A body of pieces, each so long after the one before; how long it took to come or fail, and whether it came.
    async fn sent(pieces: usize, size: usize, pause: Duration) -> (Duration, bool) {
        let pieces = stream::iter(0..pieces).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Bytes::from(vec![0; size]))
        });
        let (begun, mut body) = (Instant::now(), paced(Body::from_stream(pieces.boxed()), PACE).into_data_stream());
        while let Some(piece) = body.next().await {
            if let Err(error) = piece {
                assert!(TooSlow::is_behind(&error), "{error}");
                assert!(body.next().await.is_none());
                return (begun.elapsed(), false);
            }
        }
        (begun.elapsed(), true)
    }

    #[tokio::test]
    async fn a_body_that_drips_or_stops_is_given_up_and_a_slow_but_steady_one_is_not() {
        let now_and_then = PACE.grace / 20;
        let (took, came) = sent(10_000, 1, now_and_then).await;
        assert!(!came, "a drop now and then: {took:?}");
        let (took, came) = sent(2, 1_000_000, 3 * PACE.grace).await;
        assert!(!came, "a long silence: {took:?}");
        let (took, came) = sent(60, 1000, now_and_then).await;
        assert!(came && took >= 2 * PACE.grace, "slow but steady: {took:?}");
    }

    #[tokio::test]
    async fn waiting_that_we_cause_is_not_held_against_the_client() {
        let ready = stream::iter((0..4).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"x"))));
        let mut body = paced(Body::from_stream(ready), PACE).into_data_stream();
        while let Some(piece) = body.next().await {
            piece.unwrap();
            tokio::time::sleep(PACE.grace).await;
        }
    }
}
