//! One client's stream: an offset on the log, a filter, and the events that are ready to be sent.
//!
//! It does work only when the connection can send: a client that reads nothing costs nothing, and [`AlertWindow::take`] bounds the
//! events ready for it. `Subscription` disconnects a client whose next alert has left the window. The HTTP server disconnects
//! one that reads no bytes at all (`Limits::write`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use metrics::Gauge;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::entry::AlertFilter;
use crate::resume::{Replay, Replayed, StreamStart};
use crate::sse;
use crate::stream_credentials::StreamCredential;
use crate::window::{AlertWindow, WindowRead};

/// One client's stream.
pub struct Subscription {
    window: Arc<AlertWindow>,
    /// Changes when the window has more.
    read_up_to: watch::Receiver<i64>,
    filter: AlertFilter,
    /// Reads the log while the client is behind the window.
    replay: Option<Box<Replay>>,
    ready: VecDeque<Bytes>,
    /// Every alert up to this offset was sent, is ready to be sent, or does not pass the filter.
    handled_up_to: i64,
    /// Longest silence before a heartbeat.
    heartbeat: Duration,
    next_heartbeat: Pin<Box<Sleep>>,
    last_sent: Instant,
    credential: Arc<StreamCredential>,
    /// Resolves when the credential ends. Created once: a new future for every wait would lock the token that all streams of
    /// the credential share.
    credential_ended: Pin<Box<WaitForCancellationFutureOwned>>,
    stop: CancellationToken,
    has_ended: bool,
    _slot: SubscriberSlot,
}

/// One of the connections that are allowed at once.
pub struct SubscriberSlot {
    subscribers: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl SubscriberSlot {
    /// Counts the client as connected until this is dropped.
    pub fn new(window: &AlertWindow, permit: OwnedSemaphorePermit) -> Self {
        let subscribers = window.metrics.subscribers.clone();
        subscribers.increment(1);
        Self { subscribers, _permit: permit }
    }
}

impl Drop for SubscriberSlot {
    fn drop(&mut self) {
        self.subscribers.decrement(1);
    }
}

/// A connected client.
pub struct Subscriber {
    /// Which alerts it gets.
    pub filter: AlertFilter,
    /// Its credential; the stream ends with it.
    pub credential: Arc<StreamCredential>,
    /// Its slot.
    pub slot: SubscriberSlot,
}

enum WakeReason {
    NewAlerts,
    Replayed(Result<Replayed, bus::BusError>),
    Heartbeat,
    CredentialEnded,
}

impl Subscription {
    /// A stream from `start` on. `replay` is required if `start` is before the window.
    pub fn new(
        window: Arc<AlertWindow>,
        subscriber: Subscriber,
        start: StreamStart,
        replay: Option<Replay>,
        heartbeat: Duration,
        stop: CancellationToken,
    ) -> Self {
        let Subscriber { filter, credential, slot } = subscriber;
        Self {
            read_up_to: window.subscribe(),
            window,
            filter,
            replay: replay.map(Box::new),
            ready: VecDeque::from([start.event]),
            handled_up_to: start.handled_up_to,
            heartbeat,
            next_heartbeat: Box::pin(sleep(heartbeat)),
            last_sent: Instant::now(),
            credential_ended: Box::pin(credential.ended.clone().cancelled_owned()),
            credential,
            stop,
            has_ended: false,
            _slot: slot,
        }
    }

    /// The events to send, in order.
    pub fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut subscription| async move {
            let event = subscription.next().await?;
            Some((Ok(event), subscription))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.last_sent = Instant::now();
                return Some(event);
            }
            if self.has_ended {
                return None;
            }
            self.refill().await;
        }
    }

    /// Waits until an event is ready, or the stream is over.
    async fn refill(&mut self) {
        if self.credential.ended.is_cancelled() {
            return self.end();
        }
        if self.replay.is_some() && self.handled_up_to + 1 >= self.window.covered_from() {
            // The window has all alerts from here on.
            self.replay = None;
        }
        if self.replay.is_none() {
            match self.window.take(self.handled_up_to, &self.filter, &mut self.ready) {
                WindowRead::Behind => return self.disconnect_slow(),
                WindowRead::Lost(to) => return self.reset_to(to),
                WindowRead::UpTo(offset) => self.handled_up_to = offset,
            }
            self.window.metrics.deliveries.increment(self.ready.len() as u64);
            if !self.ready.is_empty() || self.handled_up_to < self.window.read_up_to() {
                // If no alert passes the filter, this may examine the whole window without a pause: let other tasks run.
                return tokio::task::consume_budget().await;
            }
        }
        match self.wait().await {
            WakeReason::NewAlerts | WakeReason::CredentialEnded => {}
            WakeReason::Heartbeat => self.send_heartbeat(),
            WakeReason::Replayed(Ok(Replayed::UpTo(offset, event))) => {
                self.handled_up_to = offset;
                self.window.metrics.deliveries.increment(u64::from(event.is_some()));
                self.ready.extend(event);
            }
            WakeReason::Replayed(Ok(Replayed::Lost(to))) => self.reset_to(to),
            WakeReason::Replayed(Err(error)) => {
                tracing::warn!(%error, "a client's replay failed; the client is disconnected and resumes with its last id");
                self.end_with("the log cannot be read; reconnect with the last id");
            }
        }
    }

    async fn wait(&mut self) -> WakeReason {
        let more = async {
            match &mut self.replay {
                Some(replay) => WakeReason::Replayed(replay.next(self.handled_up_to, &self.filter).await),
                // The window outlives its subscriptions, so its sender is never dropped.
                None => match self.read_up_to.changed().await {
                    Ok(()) => WakeReason::NewAlerts,
                    Err(_) => WakeReason::CredentialEnded,
                },
            }
        };
        tokio::select! {
            biased;
            () = self.credential_ended.as_mut() => WakeReason::CredentialEnded,
            () = self.next_heartbeat.as_mut() => WakeReason::Heartbeat,
            more = more => more,
        }
    }

    /// Sends a heartbeat when nothing else was sent for `self.heartbeat`.
    fn send_heartbeat(&mut self) {
        let now = Instant::now();
        if now >= self.last_sent + self.heartbeat {
            self.ready.push_back(sse::heartbeat(&self.window.cursor(self.handled_up_to)));
            self.last_sent = now;
        }
        self.next_heartbeat.as_mut().reset(self.last_sent + self.heartbeat);
    }

    /// Goes on at an offset, because retention dropped every record before it.
    fn reset_to(&mut self, offset: i64) {
        self.handled_up_to = offset - 1;
        self.window.metrics.resets.increment(1);
        let reason = "retention dropped alerts before they were sent; the stream continues with the oldest kept alert";
        self.ready.push_back(sse::reset(&self.window.cursor(self.handled_up_to), "too_old", reason));
    }

    fn disconnect_slow(&mut self) {
        self.window.metrics.slow.increment(1);
        self.ready.push_back(sse::slow());
        self.has_ended = true;
    }

    fn end(&mut self) {
        let stopping = self.stop.is_cancelled();
        self.end_with(if stopping { "shutting down; reconnect with the last id" } else { "the credential ended" });
    }

    fn end_with(&mut self, comment: &str) {
        self.ready.push_back(sse::comment(comment));
        self.has_ended = true;
    }
}

#[cfg(test)]
mod tests {
    use accounts::Caller;
    use contracts::TenantId;
    use futures::StreamExt;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::entry::AlertShape;

    /// The events of a client that has received everything up to an offset.
    fn events(window: &Arc<AlertWindow>, up_to: i64) -> Pin<Box<dyn Stream<Item = Result<Bytes, Infallible>> + Send>> {
        let caller = Caller::new(TenantId::shared(), Vec::new());
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let subscriber = Subscriber {
            filter: AlertFilter::of(&caller, AlertShape::Alert),
            credential: Arc::new(StreamCredential { caller, ended: CancellationToken::new() }),
            slot: SubscriberSlot::new(window, permit),
        };
        let start = StreamStart { handled_up_to: up_to, event: sse::opening(&window.cursor(up_to)), is_old: false };
        let (heartbeat, stop) = (Duration::from_secs(60), CancellationToken::new());
        Subscription::new(Arc::clone(window), subscriber, start, None, heartbeat, stop).events().boxed()
    }

    #[tokio::test]
    async fn a_client_that_kept_up_gets_a_reset_after_a_gap() {
        let window = Arc::new(AlertWindow::new("topic".into(), 0, 10));
        window.extend([], 4);
        let mut events = events(&window, 4);
        events.next().await.unwrap().unwrap();
        window.clear_before(9);
        let event = events.next().await.unwrap().unwrap();
        let text = std::str::from_utf8(&event).unwrap();
        assert!(text.starts_with("event: reset") && text.contains("too_old"), "{text}");
        assert!(text.contains(&format!("id: {}", window.cursor(8))), "{text}");
        let more = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
        assert!(more.is_err(), "the stream goes on: {more:?}");
    }
}
