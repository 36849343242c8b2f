//! One client's stream: a place on the log, a filter, and what is ready to be sent.
//!
//! It does nothing unless the connection wants bytes: a client that takes none costs none, and what it may have ready is
//! bounded by [`Feed::take`]. It gives up a client whose place the window has left behind; one that takes no bytes at all
//! is given up by the connection (`Limits::write`).

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

use crate::entry::Filter;
use crate::feed::{Feed, Taken};
use crate::resume::{Beginning, Replay, Replayed};
use crate::sessions::Session;
use crate::sse;

/// One client's stream.
pub struct Subscription {
    feed: Arc<Feed>,
    bell: watch::Receiver<i64>,
    filter: Filter,
    /// There while the client is behind the window.
    replay: Option<Box<Replay>>,
    ready: VecDeque<Bytes>,
    /// Everything up to this offset is sent, ready, or not for this client.
    offered: i64,
    heartbeat: Duration,
    beat: Pin<Box<Sleep>>,
    sent: Instant,
    session: Arc<Session>,
    /// Waits for the session's end. Kept, for all streams of a session share the list of who waits.
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    stop: CancellationToken,
    over: bool,
    _place: Place,
}

/// A client's place among those that may listen at once.
pub struct Place {
    subscribers: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// Takes a place.
    pub fn new(feed: &Feed, permit: OwnedSemaphorePermit) -> Self {
        let subscribers = feed.meters.subscribers.clone();
        subscribers.increment(1);
        Self { subscribers, _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.subscribers.decrement(1);
    }
}

/// Who listens, to what.
pub struct Client {
    /// What is sent to it.
    pub filter: Filter,
    /// Its credential, whose end is the stream's.
    pub session: Arc<Session>,
    /// Its place.
    pub place: Place,
}

/// What a stream waits for.
enum Woken {
    Bell,
    Replayed(Result<Replayed, bus::BusError>),
    Beat,
    Ended,
}

impl Subscription {
    /// A stream from `beginning` on; with a `replay` where that is before the window.
    pub fn new(
        feed: Arc<Feed>,
        client: Client,
        beginning: Beginning,
        replay: Option<Replay>,
        heartbeat: Duration,
        stop: CancellationToken,
    ) -> Self {
        let Client { filter, session, place } = client;
        Self {
            bell: feed.bell(),
            feed,
            filter,
            replay: replay.map(Box::new),
            ready: VecDeque::from([beginning.block]),
            offered: beginning.offered,
            heartbeat,
            beat: Box::pin(sleep(heartbeat)),
            sent: Instant::now(),
            ended: Box::pin(session.ended.clone().cancelled_owned()),
            session,
            stop,
            over: false,
            _place: place,
        }
    }

    /// The blocks to send, one after another.
    pub fn blocks(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut subscription| async move {
            let block = subscription.next().await?;
            Some((Ok(block), subscription))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(block) = self.ready.pop_front() {
                self.sent = Instant::now();
                return Some(block);
            }
            if self.over {
                return None;
            }
            self.refill().await;
        }
    }

    /// Waits until there is something to send, or the stream is over.
    async fn refill(&mut self) {
        if self.session.ended.is_cancelled() {
            return self.end();
        }
        if self.replay.is_some() && self.offered + 1 >= self.feed.covered_from() {
            // From here on the window has everything.
            self.replay = None;
        }
        if self.replay.is_none() {
            match self.feed.take(self.offered, &self.filter, &mut self.ready) {
                Taken::Fallen => return self.cut(),
                Taken::UpTo(offset) => self.offered = offset,
            }
            self.feed.meters.deliveries.increment(self.ready.len() as u64);
            if !self.ready.is_empty() || self.offered < self.feed.head() {
                // A filter that nothing passes may look through the whole window: others want to run too.
                return tokio::task::consume_budget().await;
            }
        }
        match self.wait().await {
            Woken::Bell | Woken::Ended => {}
            Woken::Beat => self.beat(),
            Woken::Replayed(Ok(Replayed::UpTo(offset, block))) => {
                self.offered = offset;
                self.feed.meters.deliveries.increment(u64::from(block.is_some()));
                self.ready.extend(block);
            }
            Woken::Replayed(Ok(Replayed::Lost(to))) => {
                self.offered = to - 1;
                self.feed.meters.resets.increment(1);
                let reason =
                    "alerts were dropped by retention while they were read; what comes now is the oldest that is kept";
                self.ready.push_back(sse::reset(&self.feed.cursor(to - 1), "too_old", reason));
            }
            Woken::Replayed(Err(error)) => {
                tracing::warn!(%error, "a client's replay cannot be read on and is cut; it will come back with its last id");
                self.last_word("the log cannot be read; come back with the last id");
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let news = async {
            match &mut self.replay {
                Some(replay) => Woken::Replayed(replay.next(self.offered, &self.filter).await),
                // The feed outlives its subscriptions, so the bell is never taken away.
                None => match self.bell.changed().await {
                    Ok(()) => Woken::Bell,
                    Err(_) => Woken::Ended,
                },
            }
        };
        tokio::select! {
            biased;
            () = self.ended.as_mut() => Woken::Ended,
            () = self.beat.as_mut() => Woken::Beat,
            news = news => news,
        }
    }

    /// Time for a heartbeat, if nothing else was sent meanwhile.
    fn beat(&mut self) {
        let now = Instant::now();
        if now >= self.sent + self.heartbeat {
            self.ready.push_back(sse::heartbeat(&self.feed.cursor(self.offered)));
            self.sent = now;
        }
        self.beat.as_mut().reset(self.sent + self.heartbeat);
    }

    fn cut(&mut self) {
        self.feed.meters.slow.increment(1);
        self.ready.push_back(sse::slow());
        self.over = true;
    }

    fn end(&mut self) {
        let stopping = self.stop.is_cancelled();
        self.last_word(if stopping { "closing; come back with the last id" } else { "the credential ended" });
    }

    fn last_word(&mut self, text: &str) {
        self.ready.push_back(sse::comment(text));
        self.over = true;
    }
}
