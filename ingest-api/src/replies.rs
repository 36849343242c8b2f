//! Requests that wait for the results of their frame.
//!
//! A request with `Prefer: wait` registers a [`ReplyWaiter`] and publishes its frame with the name of this replica in
//! `ce_replyto`. Workers publish the results of such frames to the topic `replies` too. Every replica reads all of `replies`
//! ([`follow`]) and delivers the results with its own name to the waiters of the frame. Replicas do not depend on one
//! another, so any number of them can run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bus::{Bus, BusError, ReaderItem, Start};
use consumer_kit::{Retry, backoff};
use contracts::{DetectorName, Event, FrameId, Message, ResultEvent, TopicRole};
use metrics::Gauge;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Capacity of a waiter's buffer in results: far more than a frame has detectors.
const RESULTS_PER_WAITER: usize = 64;

/// The waiting requests of this replica.
pub struct Replies {
    replica: String,
    max_waiters: usize,
    listening: AtomicBool,
    numbers: AtomicU64,
    waiters: Mutex<Waiters>,
    gauge: Gauge,
}

#[derive(Default)]
struct Waiters {
    by_frame: HashMap<FrameId, Vec<(u64, mpsc::Sender<ResultEvent>)>>,
    count: usize,
}

/// A waiting request. Dropping it unregisters it.
pub struct ReplyWaiter {
    replies: Arc<Replies>,
    frame: FrameId,
    number: u64,
    results: mpsc::Receiver<ResultEvent>,
}

impl Replies {
    /// Accepts at most `max_waiters` waiters at the same time.
    pub fn new(max_waiters: usize) -> Arc<Self> {
        Arc::new(Self {
            replica: uuid::Uuid::new_v4().to_string(),
            max_waiters,
            listening: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            waiters: Mutex::default(),
            gauge: metrics::gauge!("sightline_ingest_waiting"),
        })
    }

    /// The value of `ce_replyto` for results that this replica is to receive.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// Registers a waiter; `None` when too many wait, or while `replies` cannot be read. Call it
    /// before the frame is published, because the result may arrive before the broker's
    /// acknowledgement.
    pub fn register(self: &Arc<Self>, frame: FrameId) -> Option<ReplyWaiter> {
        let mut waiters = self.lock();
        if waiters.count >= self.max_waiters || !self.listening.load(Ordering::Acquire) {
            return None;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, results) = mpsc::channel(RESULTS_PER_WAITER);
        waiters.by_frame.entry(frame).or_default().push((number, sender));
        waiters.count += 1;
        self.set_gauge(waiters.count);
        Some(ReplyWaiter { replies: self.clone(), frame, number, results })
    }

    /// Delivers a message of `replies` to the waiters of its frame.
    fn deliver(&self, message: &Message) {
        if message.headers.text("ce_replyto") != Some(&self.replica) {
            return;
        }
        let result = match ResultEvent::from_message(message) {
            Ok(result) => result,
            Err(error) => return tracing::warn!(%error, "a reply could not be read"),
        };
        let waiters = self.lock();
        for (_, sender) in waiters.by_frame.get(&result.data.frame_id).into_iter().flatten() {
            // A full waiter has enough results; a closed one is about to unregister.
            drop(sender.try_send(result.clone()));
        }
    }

    fn unregister(&self, frame: FrameId, number: u64) {
        let mut waiters = self.lock();
        if let Some(of_frame) = waiters.by_frame.get_mut(&frame) {
            of_frame.retain(|(other, _)| *other != number);
            if of_frame.is_empty() {
                waiters.by_frame.remove(&frame);
            }
        }
        waiters.count -= 1;
        self.set_gauge(waiters.count);
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // No code panics while it holds the lock.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and requests are far below 2^52")]
    fn set_gauge(&self, count: usize) {
        self.gauge.set(count as f64);
    }
}

impl ReplyWaiter {
    /// One result of each of these detectors; `None` when one is missing at `deadline`, or the service stops.
    pub async fn all(
        mut self,
        detectors: &[DetectorName],
        deadline: Instant,
        stop: &CancellationToken,
    ) -> Option<Vec<ResultEvent>> {
        let mut results: Vec<ResultEvent> = Vec::new();
        while !detectors.iter().all(|name| results.iter().any(|result| result.data.detector == *name)) {
            let result = tokio::select! {
                result = self.results.recv() => result?,
                () = tokio::time::sleep_until(deadline) => return None,
                () = stop.cancelled() => return None,
            };
            if results.iter().all(|known| known.data.detector != result.data.detector) {
                results.push(result);
            }
        }
        Some(results)
    }
}

impl Drop for ReplyWaiter {
    fn drop(&mut self) {
        self.replies.unregister(self.frame, self.number);
    }
}

/// Reads new messages of `replies` and delivers the results for this replica, until `stop`. Transient errors are retried; until a
/// retry succeeds, no request waits.
///
/// # Errors
/// When the bus fails permanently.
pub async fn follow(bus: Arc<dyn Bus>, replies: Arc<Replies>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut retry = Retry::new("replies cannot be read; requests do not wait for results", backoff::READ, &stop);
    loop {
        let ended = stop.run_until_cancelled(read(&*bus, &replies, &mut retry)).await;
        replies.listening.store(false, Ordering::Release);
        let Some(error) = ended else { return Ok(()) };
        if let Err(interrupted) = retry.wait_or_fail(error).await {
            return interrupted.end();
        }
    }
}

async fn read(bus: &dyn Bus, replies: &Replies, retry: &mut Retry) -> BusError {
    let mut reader = match bus.reader(TopicRole::Replies, Start::Latest).await {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    replies.listening.store(true, Ordering::Release);
    loop {
        match reader.next().await {
            Ok(ReaderItem::Delivery(delivery)) => replies.deliver(&delivery.message),
            // Retention dropped replies before they were read: their requests end at their deadlines.
            Ok(ReaderItem::Gap { .. }) => {}
            Err(error) => return error,
        }
        retry.reset();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use contracts::result::ResultData;
    use contracts::{Outcome, TenantId};
    use jiff::Timestamp;

    use super::*;

    fn reply(replies: &Replies, frame_id: FrameId, detector: &str) -> Message {
        let data = ResultData {
            frame_id,
            stream: None,
            detector: detector.parse().unwrap(),
            model: "m".to_owned(),
            captured_at: Timestamp::UNIX_EPOCH,
            processed_at: Timestamp::UNIX_EPOCH,
            outcome: Outcome::Ok { width: 1, height: 1, detections: Vec::new(), image: None },
        };
        let (id, key) = (uuid::Uuid::new_v4(), frame_id.to_string());
        let reply_to = Some(replies.replica().to_owned());
        ResultEvent { id, tenant: TenantId::shared(), key, traceparent: None, reply_to, retention: None, data }
            .to_message()
    }

    fn listening(max_waiters: usize) -> Arc<Replies> {
        let replies = Replies::new(max_waiters);
        replies.listening.store(true, Ordering::Release);
        replies
    }

    #[tokio::test]
    async fn a_waiter_gets_one_result_of_every_detector() {
        let (replies, stop, frame) = (listening(8), CancellationToken::new(), FrameId::now());
        let detectors = ["face".parse().unwrap(), "vehicle".parse().unwrap()];
        let deadline = Instant::now() + Duration::from_secs(20);
        let (first, second) = (replies.register(frame).unwrap(), replies.register(frame).unwrap());
        for detector in ["face", "face"] {
            replies.deliver(&reply(&replies, frame, detector));
        }
        replies.deliver(&reply(&replies, FrameId::now(), "vehicle"));
        replies.deliver(&reply(&Replies::new(1), frame, "vehicle"));
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(first.all(&detectors, soon, &stop).await.is_none(), "the result of one detector is missing");
        replies.deliver(&reply(&replies, frame, "vehicle"));
        let results = second.all(&detectors, deadline, &stop).await.unwrap();
        assert_eq!(results.len(), 2);
        assert!(replies.lock().by_frame.is_empty(), "a finished waiter is unregistered");
    }

    #[test]
    fn waiters_are_bounded_and_need_a_reader() {
        let replies = listening(1);
        let waiter = replies.register(FrameId::now()).unwrap();
        assert!(replies.register(FrameId::now()).is_none());
        drop(waiter);
        assert!(replies.register(FrameId::now()).is_some());
        replies.listening.store(false, Ordering::Release);
        assert!(replies.register(FrameId::now()).is_none());
    }
}
