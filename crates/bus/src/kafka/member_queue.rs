//! The state that a member's thread shares with its [`Consumer`](crate::Consumer): fetched messages that wait to be consumed,
//! and those in flight.
//!
//! The thread pushes, the consumer takes, finishers finish. A message is in flight from `take` on. Waiting messages have
//! their own limit, and are discarded when their partition is revoked.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::in_flight::InFlight;
use crate::seam::{BusError, ConsumerOptions, Delivery, Finisher, Incoming, Position};

/// Maximum number of waiting messages and bytes. A single message may exceed them.
const MAX_WAITING: usize = 512;
const MAX_WAITING_BYTES: usize = 8 << 20;

/// The queue between a member's thread and its consumer.
pub struct MemberQueue {
    options: ConsumerOptions,
    state: Mutex<State>,
    /// Notified when a message or event can be taken, or the queue has ended.
    arrived: Notify,
    /// Notified when a message was taken or finished, or the member was requested to stop.
    moved: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Incoming>,
    waiting_messages: usize,
    waiting_bytes: usize,
    in_flight: InFlight,
    /// The member's thread waits for `moved`. Waking it costs a system call, which is too expensive for every message.
    thread_waits: bool,
    stop: Option<Stop>,
    /// Why the queue has ended.
    end: Option<BusError>,
}

/// How a member stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At once; finished messages are committed.
    Leave,
    /// When no message is in flight.
    Drain,
}

impl MemberQueue {
    /// An empty queue that delivers within `options`.
    pub fn new(options: ConsumerOptions) -> Self {
        Self { options, state: Mutex::default(), arrived: Notify::new(), moved: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method leaves the state half changed, so it is valid after a panic elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message or event. Cancel-safe: nothing is awaited after it is taken.
    pub async fn take(&self) -> Result<Incoming, BusError> {
        loop {
            if let Some(taken) = self.try_take() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }

    fn try_take(&self) -> Option<Result<Incoming, BusError>> {
        let mut state = self.state();
        if let Some(Incoming::Delivery(delivery)) = state.waiting.front() {
            let (position, weight) = (delivery.position, delivery.message.weight());
            if !state.in_flight.has_room(&self.options, weight) {
                return None;
            }
            state.in_flight.delivered(position, weight);
            state.waiting_messages -= 1;
            state.waiting_bytes -= weight;
            self.wake_thread(&state);
        }
        match state.waiting.pop_front() {
            Some(incoming) => Some(Ok(incoming)),
            None => state.end.clone().map(Err),
        }
    }

    /// Adds a message.
    pub fn push(&self, delivery: Delivery) {
        let mut state = self.state();
        state.waiting_messages += 1;
        state.waiting_bytes += delivery.message.weight();
        state.waiting.push_back(Incoming::Delivery(delivery));
        self.arrived.notify_one();
    }

    /// Adds an event, in order with the messages.
    pub fn push_event(&self, event: Incoming) {
        self.state().waiting.push_back(event);
        self.arrived.notify_one();
    }

    /// Discards the waiting messages of these partitions. The event overtakes the other waiting messages.
    pub fn revoke(&self, partitions: &[i32]) {
        let mut state = self.state();
        let is_revoked = |incoming: &Incoming| match incoming {
            Incoming::Delivery(delivery) => partitions.contains(&delivery.position.partition),
            _ => false,
        };
        state.waiting.retain(|incoming| !is_revoked(incoming));
        state.count_waiting();
        // Not before earlier events: one may be the assignment of these partitions.
        let last_event = state.waiting.iter().rposition(|incoming| !matches!(incoming, Incoming::Delivery(_)));
        state.waiting.insert(last_event.map_or(0, |last| last + 1), Incoming::Revoked(partitions.to_vec()));
        self.arrived.notify_one();
    }

    /// Discards all waiting messages.
    pub fn clear(&self) {
        let mut state = self.state();
        state.waiting.clear();
        state.count_waiting();
    }

    /// Whether the limit of waiting messages is reached.
    pub fn is_full(&self) -> bool {
        self.state().is_full()
    }

    /// Whether at most half of the limit is used.
    pub fn is_half_empty(&self) -> bool {
        let state = self.state();
        state.waiting_messages <= MAX_WAITING / 2 && state.waiting_bytes <= MAX_WAITING_BYTES / 2
    }

    /// Blocks while the queue is full and the member is not stopping, at most this long.
    pub fn wait_for_room(&self, at_most: Duration) {
        drop(self.wait_while(at_most, |state| state.is_full() && state.stop.is_none()));
    }

    /// Blocks until no message of these partitions is in flight, at most this long. Returns how many are.
    pub fn wait_until_finished(&self, partitions: &[i32], at_most: Duration) -> usize {
        self.wait_while(at_most, |state| state.in_flight_of(partitions) > 0).in_flight_of(partitions)
    }

    fn wait_while(&self, at_most: Duration, waits: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.thread_waits = true;
        let waited = self.moved.wait_timeout_while(state, at_most, |state| waits(state));
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.thread_waits = false;
        state
    }

    /// Wakes the member's thread if it waits.
    fn wake_thread(&self, state: &State) {
        if state.thread_waits {
            self.moved.notify_all();
        }
    }

    /// Offsets to commit.
    pub fn uncommitted(&self) -> Vec<Position> {
        self.state().in_flight.uncommitted()
    }

    /// Records that the broker has stored this commit.
    pub fn committed(&self, position: Position) {
        self.state().in_flight.committed(position);
    }

    /// Removes partitions. Returns their last offsets to commit.
    pub fn forget(&self, partitions: &[i32]) -> Vec<Position> {
        let mut state = self.state();
        let last = partitions.iter().filter_map(|partition| state.in_flight.forget(*partition)).collect();
        self.arrived.notify_one();
        last
    }

    /// Requests the member to stop. Only the first call has an effect, except that [`Stop::Leave`] replaces [`Stop::Drain`].
    pub fn stop(&self, how: Stop) {
        let mut state = self.state();
        if state.stop != Some(Stop::Leave) {
            state.stop = Some(how);
        }
        self.wake_thread(&state);
    }

    /// How the member was requested to stop; `None` if it was not.
    pub fn stopping(&self) -> Option<Stop> {
        self.state().stop
    }

    /// Ends the queue with a reason. Only the first call has an effect.
    pub fn end(&self, reason: BusError) {
        self.state().end.get_or_insert(reason);
        self.arrived.notify_one();
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting_messages >= MAX_WAITING || self.waiting_bytes >= MAX_WAITING_BYTES
    }

    fn in_flight_of(&self, partitions: &[i32]) -> usize {
        partitions.iter().map(|partition| self.in_flight.messages_of(*partition)).sum()
    }

    fn count_waiting(&mut self) {
        let weights = self.waiting.iter().filter_map(|incoming| match incoming {
            Incoming::Delivery(delivery) => Some(delivery.message.weight()),
            _ => None,
        });
        (self.waiting_messages, self.waiting_bytes) =
            weights.fold((0, 0), |(n, bytes), weight| (n + 1, bytes + weight));
    }
}

impl Finisher for MemberQueue {
    fn finished(&self, position: Position) {
        let mut state = self.state();
        // A member that leaves at once has made its last commit; messages that are finished later belong to another member.
        if state.stop != Some(Stop::Leave) && state.in_flight.finished(position) {
            self.arrived.notify_one();
            self.wake_thread(&state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use contracts::{Headers, Message};
    use futures::FutureExt;

    use super::*;

    fn message(partition: i32, offset: i64) -> Delivery {
        let message = Message { key: None, headers: Headers::new(), value: Bytes::from_static(b"0123456789") };
        Delivery { position: Position { partition, offset }, timestamp: SystemTime::UNIX_EPOCH, message }
    }

    fn queue_of(max_in_flight: usize) -> MemberQueue {
        MemberQueue::new(ConsumerOptions { max_in_flight, ..ConsumerOptions::default() })
    }

    fn taken(queue: &MemberQueue) -> Option<String> {
        Some(match queue.take().now_or_never()?.unwrap() {
            Incoming::Delivery(delivery) => format!("{}:{}", delivery.position.partition, delivery.position.offset),
            Incoming::Assigned(partitions) => format!("assigned {partitions:?}"),
            Incoming::Revoked(partitions) => format!("revoked {partitions:?}"),
            Incoming::Gap { partition, from, to } => format!("gap {partition}:{from}..{to}"),
        })
    }

    #[test]
    fn a_revocation_discards_its_messages_and_overtakes_others() {
        let queue = queue_of(10);
        queue.push_event(Incoming::Assigned(vec![0, 1]));
        for (partition, offset) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            queue.push(message(partition, offset));
        }
        queue.revoke(&[0]);
        let all: Vec<String> = std::iter::from_fn(|| taken(&queue)).collect();
        assert_eq!(all, ["assigned [0, 1]", "revoked [0]", "1:0", "1:1"]);
        assert_eq!(queue.wait_until_finished(&[0], Duration::ZERO), 0);
        assert_eq!(queue.wait_until_finished(&[0, 1], Duration::ZERO), 2);
    }

    #[test]
    fn the_limit_on_messages_in_flight_holds_until_one_is_finished() {
        let queue = queue_of(1);
        queue.push(message(0, 0));
        queue.push(message(0, 1));
        assert_eq!(taken(&queue).as_deref(), Some("0:0"));
        assert_eq!(taken(&queue), None);
        queue.finished(Position { partition: 0, offset: 0 });
        assert_eq!(taken(&queue).as_deref(), Some("0:1"));
    }

    #[test]
    fn a_full_queue_has_room_again_after_a_take() {
        let queue = queue_of(MAX_WAITING);
        for offset in 0..MAX_WAITING {
            assert!(!queue.is_full());
            queue.push(message(0, i64::try_from(offset).unwrap()));
        }
        assert!(queue.is_full() && !queue.is_half_empty());
        assert!(taken(&queue).is_some());
        assert!(!queue.is_full() && !queue.is_half_empty());
        while taken(&queue).is_some() {}
        assert!(queue.is_half_empty());
    }

    #[test]
    fn finishing_counts_while_draining_and_not_after_leaving() {
        let queue = queue_of(10);
        let [first, second] = [0, 1].map(|offset| Position { partition: 0, offset });
        queue.push(message(0, 0));
        queue.push(message(0, 1));
        assert!(taken(&queue).is_some() && taken(&queue).is_some());
        queue.stop(Stop::Drain);
        queue.finished(first);
        queue.stop(Stop::Leave);
        queue.finished(second);
        assert_eq!(queue.forget(&[0]), [second]);
    }

    #[test]
    fn the_end_comes_last_and_leaving_overrules_draining() {
        let queue = queue_of(10);
        queue.push(message(0, 0));
        queue.end(BusError::Closed);
        assert!(taken(&queue).is_some());
        assert!(matches!(queue.take().now_or_never(), Some(Err(BusError::Closed))));
        for how in [Stop::Drain, Stop::Leave, Stop::Drain] {
            queue.stop(how);
        }
        assert_eq!(queue.stopping(), Some(Stop::Leave));
    }
}
