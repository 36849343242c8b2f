//! Requests that wait for the results of their frame.
//!
//! A request with `Prefer: wait` takes a [`Ticket`] and publishes its frame with this replica's name in `ce_replyto`. Workers
//! publish results of such frames to `replies` too, and every replica reads all of `replies` ([`follow`]) and hands each
//! result that bears its name to the tickets of its frame. No replica knows of the others, so there may be any number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bus::{Bus, BusError, ReaderItem, Start};
use contracts::{DetectorName, Event, FrameId, Message, ResultEvent, TopicRole};
use metrics::Gauge;
use platform::retry::Backoff;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Results that a ticket holds until its request takes them; far more than a frame has detectors.
const RESULTS_PER_TICKET: usize = 64;

/// The requests of this replica that wait.
pub struct Waiting {
    replica: String,
    most: usize,
    listening: AtomicBool,
    numbers: AtomicU64,
    tickets: Mutex<Tickets>,
    gauge: Gauge,
}

#[derive(Default)]
struct Tickets {
    by_frame: HashMap<FrameId, Vec<(u64, mpsc::Sender<ResultEvent>)>>,
    count: usize,
}

/// One request's place. Leaving it is dropping it.
pub struct Ticket {
    of: Arc<Waiting>,
    frame: FrameId,
    number: u64,
    results: mpsc::Receiver<ResultEvent>,
}

impl Waiting {
    /// Nobody waits, and at most `most` ever will at one time.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            replica: uuid::Uuid::new_v4().to_string(),
            most,
            listening: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            tickets: Mutex::default(),
            gauge: metrics::gauge!("sightline_ingest_waiting"),
        })
    }

    /// What frames carry in `ce_replyto` so that their results come here.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// A place for a request; none when too many wait, or while replies cannot be read. To be taken before the frame is
    /// published: the result may be there before the broker's acknowledgement is.
    pub fn enter(self: &Arc<Self>, frame: FrameId) -> Option<Ticket> {
        let mut tickets = self.lock();
        if tickets.count >= self.most || !self.listening.load(Ordering::Acquire) {
            return None;
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, results) = mpsc::channel(RESULTS_PER_TICKET);
        tickets.by_frame.entry(frame).or_default().push((number, sender));
        tickets.count += 1;
        self.show(tickets.count);
        Some(Ticket { of: self.clone(), frame, number, results })
    }

    /// Hands a message of `replies` to whom it is for.
    fn deliver(&self, message: &Message) {
        if message.headers.text("ce_replyto") != Some(&self.replica) {
            return;
        }
        let result = match ResultEvent::from_message(message) {
            Ok(result) => result,
            Err(error) => return tracing::warn!(%error, "a reply could not be read"),
        };
        let tickets = self.lock();
        for (_, sender) in tickets.by_frame.get(&result.data.frame_id).into_iter().flatten() {
            // A full ticket has all results it can want, a closed one is about to leave.
            drop(sender.try_send(result.clone()));
        }
    }

    fn leave(&self, frame: FrameId, number: u64) {
        let mut tickets = self.lock();
        if let Some(of_frame) = tickets.by_frame.get_mut(&frame) {
            of_frame.retain(|(other, _)| *other != number);
            if of_frame.is_empty() {
                tickets.by_frame.remove(&frame);
            }
        }
        tickets.count -= 1;
        self.show(tickets.count);
    }

    fn lock(&self) -> MutexGuard<'_, Tickets> {
        // Nothing panics while it holds the lock; and if it did, the map would still be whole.
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and requests are far below 2^52")]
    fn show(&self, count: usize) {
        self.gauge.set(count as f64);
    }
}

impl Ticket {
    /// One result of each of these detectors; nothing when they are not all there by `deadline` or the service stops.
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

impl Drop for Ticket {
    fn drop(&mut self) {
        self.of.leave(self.frame, self.number);
    }
}

/// Reads `replies` from now on and hands out what is for this replica, until `stop`. A log that cannot be reached is tried
/// again; meanwhile nobody may wait.
///
/// # Errors
/// When the log refuses for good.
pub async fn follow(bus: Arc<dyn Bus>, waiting: Arc<Waiting>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            ended = read(&*bus, &waiting, &mut backoff) => ended,
        };
        waiting.listening.store(false, Ordering::Release);
        if !ended.is_transient() {
            return Err(anyhow::anyhow!("replies cannot be read: {ended}"));
        }
        tracing::warn!(error = %ended, "replies cannot be read for now; requests are not kept waiting");
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(backoff.pause()) => {}
        }
    }
}

async fn read(bus: &dyn Bus, waiting: &Waiting, backoff: &mut Backoff) -> BusError {
    let mut reader = match bus.reader(TopicRole::Replies, Start::Latest).await {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    waiting.listening.store(true, Ordering::Release);
    loop {
        match reader.next().await {
            Ok(ReaderItem::Delivery(delivery)) => waiting.deliver(&delivery.message),
            // Replies that were dropped before they were read: their requests end at their deadlines.
            Ok(ReaderItem::Gap { .. }) => {}
            Err(error) => return error,
        }
        backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use contracts::result::ResultData;
    use contracts::{Outcome, TenantId};
    use jiff::Timestamp;

    use super::*;

    fn reply(waiting: &Waiting, frame_id: FrameId, detector: &str) -> Message {
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
        let reply_to = Some(waiting.replica().to_owned());
        ResultEvent { id, tenant: TenantId::shared(), key, traceparent: None, reply_to, data }.to_message()
    }

    fn listening(most: usize) -> Arc<Waiting> {
        let waiting = Waiting::new(most);
        waiting.listening.store(true, Ordering::Release);
        waiting
    }

    #[tokio::test]
    async fn a_ticket_waits_for_every_detector_once() {
        let (waiting, stop, frame) = (listening(8), CancellationToken::new(), FrameId::now());
        let detectors = ["face".parse().unwrap(), "vehicle".parse().unwrap()];
        let deadline = Instant::now() + Duration::from_secs(20);
        let (first, second) = (waiting.enter(frame).unwrap(), waiting.enter(frame).unwrap());
        for detector in ["face", "face"] {
            waiting.deliver(&reply(&waiting, frame, detector));
        }
        waiting.deliver(&reply(&waiting, FrameId::now(), "vehicle"));
        waiting.deliver(&reply(&Waiting::new(1), frame, "vehicle"));
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(first.all(&detectors, soon, &stop).await.is_none(), "one detector is still to answer");
        waiting.deliver(&reply(&waiting, frame, "vehicle"));
        let results = second.all(&detectors, deadline, &stop).await.unwrap();
        assert_eq!(results.len(), 2);
        assert!(waiting.lock().by_frame.is_empty(), "who left is forgotten");
    }

    #[test]
    fn places_are_counted_and_given_back_and_none_is_given_unheard() {
        let waiting = listening(1);
        let ticket = waiting.enter(FrameId::now()).unwrap();
        assert!(waiting.enter(FrameId::now()).is_none());
        drop(ticket);
        assert!(waiting.enter(FrameId::now()).is_some());
        waiting.listening.store(false, Ordering::Release);
        assert!(waiting.enter(FrameId::now()).is_none());
    }
}
