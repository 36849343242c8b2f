//! The calls of a connection: whether there are any, and how many of them the client cancels.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;

/// The calls of a connection.
#[derive(Default)]
pub struct Calls {
    open: AtomicU32,
    finished: AtomicU64,
    cancelled: AtomicU64,
    /// Number of calls that may be cancelled in addition to those that finish.
    allowed: u64,
    excess: Notify,
}

impl Calls {
    /// Those of a connection that may cancel so many calls in addition to those that it finishes.
    pub fn new(allowed: u64) -> Self {
        Self { allowed, ..Self::default() }
    }

    fn total(&self) -> u64 {
        let ended = self.finished.load(Ordering::Relaxed) + self.cancelled.load(Ordering::Relaxed);
        ended + u64::from(self.open.load(Ordering::Relaxed))
    }

    /// Returns when there was no call for `limit`, or for up to twice as long.
    pub async fn idle(&self, limit: Duration) {
        loop {
            let before = self.total();
            tokio::time::sleep(limit).await;
            if self.open.load(Ordering::Relaxed) == 0 && self.total() == before {
                return;
            }
        }
    }

    /// Returns when the client has cancelled too many calls.
    pub async fn too_many_cancelled(&self) {
        self.excess.notified().await;
    }
}

/// A call, from its head to the end of its response. Dropped before, it was cancelled.
pub struct Call {
    calls: Arc<Calls>,
    is_finished: bool,
}

impl Call {
    /// A call that has just begun.
    pub fn begin(calls: &Arc<Calls>) -> Self {
        calls.open.fetch_add(1, Ordering::Relaxed);
        Self { calls: Arc::clone(calls), is_finished: false }
    }

    /// The body of its response, with whose end it ends.
    pub fn until_end_of(mut self, body: Body) -> CallBody {
        self.is_finished = body.is_end_stream();
        CallBody { body, call: self }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Calls { open, finished, cancelled, allowed, excess } = &*self.calls;
        open.fetch_sub(1, Ordering::Relaxed);
        if self.is_finished {
            finished.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let cancelled = cancelled.fetch_add(1, Ordering::Relaxed) + 1;
        if cancelled > allowed.saturating_add(finished.load(Ordering::Relaxed)) {
            excess.notify_one();
        }
    }
}

/// The body of a response, which ends its call.
pub struct CallBody {
    body: Body,
    call: Call,
}

impl HttpBody for CallBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.call.is_finished = match &polled {
            // hyper does not poll again after trailers, nor after the last byte of a body whose end is known.
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
            Some(Err(_)) => false,
            None => true,
        };
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cancelled_calls_beyond_the_finished_ones_are_too_many() {
        let calls = Arc::new(Calls::new(2));
        for _ in 0..3 {
            drop(Call::begin(&calls).until_end_of(Body::empty()));
        }
        for _ in 0..5 {
            drop(Call::begin(&calls));
        }
        let early = tokio::time::timeout(Duration::from_millis(1), calls.too_many_cancelled()).await;
        assert!(early.is_err(), "five are allowed: two, and three for the finished ones");
        drop(Call::begin(&calls));
        calls.too_many_cancelled().await;
    }

    #[tokio::test]
    async fn a_connection_with_an_open_call_is_not_idle() {
        let calls = Arc::new(Calls::new(0));
        let limit = Duration::from_millis(10);
        let call = Call::begin(&calls);
        assert!(tokio::time::timeout(10 * limit, calls.idle(limit)).await.is_err());
        drop(call.until_end_of(Body::empty()));
        calls.idle(limit).await;
    }
}
