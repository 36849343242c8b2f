//! What a member's thread and its [`Consumer`](crate::Consumer) share: the messages that wait to be taken, and the ledger of
//! those in hand.
//!
//! The thread puts in, the consumer takes out, finishers strike off the ledger. A message counts as in flight from when it is
//! taken; what waits is bounded apart, and may be thrown away when its partition goes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::in_flight::InFlight;
use crate::seam::{BusError, ConsumerOptions, Delivery, Finisher, Incoming, Position};

/// Most messages and bytes that wait to be taken; one message always may.
const MAX_WAITING: usize = 512;
const MAX_WAITING_BYTES: usize = 8 << 20;

/// The desk between a member's thread and whoever works.
pub struct Desk {
    options: ConsumerOptions,
    state: Mutex<State>,
    /// Something may be taken, or all is over.
    arrived: Notify,
    /// Something was taken or finished, or the member shall stop.
    moved: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Incoming>,
    waiting_messages: usize,
    waiting_bytes: usize,
    ledger: InFlight,
    stop: Option<Stop>,
    /// Why nothing comes any more.
    over: Option<BusError>,
}

/// How a member shall stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// At once, committing what is finished.
    Leave,
    /// After what is in hand is finished.
    Drain,
}

impl Desk {
    /// An empty desk.
    pub fn new(options: ConsumerOptions) -> Self {
        Self { options, state: Mutex::default(), arrived: Notify::new(), moved: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below leaves the state whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what comes next. Cancel-safe: it is taken and given in one step.
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
            if !state.ledger.has_room(&self.options, weight) {
                return None;
            }
            state.ledger.delivered(position, weight);
            state.waiting_messages -= 1;
            state.waiting_bytes -= weight;
            self.moved.notify_all();
        }
        match state.waiting.pop_front() {
            Some(incoming) => Some(Ok(incoming)),
            None => state.over.clone().map(Err),
        }
    }

    /// Puts a message where it can be taken.
    pub fn put(&self, delivery: Delivery) {
        let mut state = self.state();
        state.waiting_messages += 1;
        state.waiting_bytes += delivery.message.weight();
        state.waiting.push_back(Incoming::Delivery(delivery));
        self.arrived.notify_one();
    }

    /// Tells of something else, in order with the messages.
    pub fn tell(&self, news: Incoming) {
        self.state().waiting.push_back(news);
        self.arrived.notify_one();
    }

    /// Takes partitions off the desk: what waits of them is thrown away, and this is told before any other message.
    pub fn revoke(&self, partitions: &[i32]) {
        let mut state = self.state();
        let gone = |incoming: &Incoming| match incoming {
            Incoming::Delivery(delivery) => partitions.contains(&delivery.position.partition),
            _ => false,
        };
        state.waiting.retain(|incoming| !gone(incoming));
        state.count_waiting();
        // Not before earlier news, which may tell that the very partitions were assigned.
        let place = state.waiting.iter().rposition(|incoming| !matches!(incoming, Incoming::Delivery(_)));
        state.waiting.insert(place.map_or(0, |last| last + 1), Incoming::Revoked(partitions.to_vec()));
        self.arrived.notify_one();
    }

    /// Throws away all that waits; it is not this member's any more.
    pub fn clear(&self) {
        let mut state = self.state();
        state.waiting.clear();
        state.count_waiting();
    }

    /// Whether as much waits as may.
    pub fn is_full(&self) -> bool {
        self.state().is_full()
    }

    /// Whether at least half of what may wait does not.
    pub fn has_much_room(&self) -> bool {
        let state = self.state();
        state.waiting_messages <= MAX_WAITING / 2 && state.waiting_bytes <= MAX_WAITING_BYTES / 2
    }

    /// Blocks while the desk is full and nobody wants the member to stop, at most this long.
    pub fn wait_for_room(&self, at_most: Duration) {
        let full = |state: &mut State| state.is_full() && state.stop.is_none();
        drop(self.moved.wait_timeout_while(self.state(), at_most, full));
    }

    /// Blocks until nothing of these partitions is in hand, at most this long. Says how many messages are.
    pub fn wait_for_work(&self, partitions: &[i32], at_most: Duration) -> usize {
        let waited = self.moved.wait_timeout_while(self.state(), at_most, |state| state.in_hand(partitions) > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.in_hand(partitions)
    }

    /// Offsets that may be committed and are not.
    pub fn uncommitted(&self) -> Vec<Position> {
        self.state().ledger.uncommitted()
    }

    /// The broker took this commit.
    pub fn committed(&self, position: Position) {
        self.state().ledger.committed(position);
    }

    /// Forgets partitions; gives what may still be committed of them.
    pub fn forget(&self, partitions: &[i32]) -> Vec<Position> {
        let mut state = self.state();
        let last = partitions.iter().filter_map(|partition| state.ledger.forget(*partition)).collect();
        self.arrived.notify_one();
        last
    }

    /// Asks the member to stop. The first wish counts, save that leaving at once overrules draining.
    pub fn stop(&self, wish: Stop) {
        let mut state = self.state();
        if state.stop != Some(Stop::Leave) {
            state.stop = Some(wish);
        }
        self.moved.notify_all();
    }

    /// Whether and how the member shall stop.
    pub fn stopping(&self) -> Option<Stop> {
        self.state().stop
    }

    /// Nothing comes any more, for this reason; of several, the first one counts.
    pub fn end(&self, reason: BusError) {
        self.state().over.get_or_insert(reason);
        self.arrived.notify_one();
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting_messages >= MAX_WAITING || self.waiting_bytes >= MAX_WAITING_BYTES
    }

    fn in_hand(&self, partitions: &[i32]) -> usize {
        partitions.iter().map(|partition| self.ledger.messages_of(*partition)).sum()
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

impl Finisher for Desk {
    fn finished(&self, position: Position) {
        let mut state = self.state();
        // Who leaves at once has told the group what was finished by then; the rest is somebody else's.
        if state.stop != Some(Stop::Leave) && state.ledger.finished(position) {
            self.arrived.notify_one();
            self.moved.notify_all();
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

    fn desk(max_in_flight: usize) -> Desk {
        Desk::new(ConsumerOptions { max_in_flight, ..ConsumerOptions::default() })
    }

    fn taken(desk: &Desk) -> Option<String> {
        Some(match desk.take().now_or_never()?.unwrap() {
            Incoming::Delivery(delivery) => format!("{}:{}", delivery.position.partition, delivery.position.offset),
            Incoming::Assigned(partitions) => format!("assigned {partitions:?}"),
            Incoming::Revoked(partitions) => format!("revoked {partitions:?}"),
            Incoming::Gap { partition, from, to } => format!("gap {partition}:{from}..{to}"),
        })
    }

    #[test]
    fn what_waits_of_a_revoked_partition_is_thrown_away_and_the_news_overtakes_other_messages() {
        let desk = desk(10);
        desk.tell(Incoming::Assigned(vec![0, 1]));
        for (partition, offset) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            desk.put(message(partition, offset));
        }
        desk.revoke(&[0]);
        let all: Vec<String> = std::iter::from_fn(|| taken(&desk)).collect();
        assert_eq!(all, ["assigned [0, 1]", "revoked [0]", "1:0", "1:1"]);
        assert_eq!(desk.wait_for_work(&[0], Duration::ZERO), 0);
        assert_eq!(desk.wait_for_work(&[0, 1], Duration::ZERO), 2);
    }

    #[test]
    fn no_more_is_taken_than_may_be_in_flight_until_something_is_finished() {
        let desk = desk(1);
        desk.put(message(0, 0));
        desk.put(message(0, 1));
        assert_eq!(taken(&desk).as_deref(), Some("0:0"));
        assert_eq!(taken(&desk), None);
        desk.finished(Position { partition: 0, offset: 0 });
        assert_eq!(taken(&desk).as_deref(), Some("0:1"));
    }

    #[test]
    fn a_full_desk_says_so_until_something_is_taken() {
        let desk = desk(MAX_WAITING);
        for offset in 0..MAX_WAITING {
            assert!(!desk.is_full());
            desk.put(message(0, i64::try_from(offset).unwrap()));
        }
        assert!(desk.is_full() && !desk.has_much_room());
        assert!(taken(&desk).is_some());
        assert!(!desk.is_full() && !desk.has_much_room());
        while taken(&desk).is_some() {}
        assert!(desk.has_much_room());
    }

    #[test]
    fn what_is_finished_after_leaving_does_not_count_and_while_draining_it_does() {
        let desk = desk(10);
        let [first, second] = [0, 1].map(|offset| Position { partition: 0, offset });
        desk.put(message(0, 0));
        desk.put(message(0, 1));
        assert!(taken(&desk).is_some() && taken(&desk).is_some());
        desk.stop(Stop::Drain);
        desk.finished(first);
        desk.stop(Stop::Leave);
        desk.finished(second);
        assert_eq!(desk.forget(&[0]), [second]);
    }

    #[test]
    fn the_end_is_told_after_what_came_before_and_leaving_overrules_draining() {
        let desk = desk(10);
        desk.put(message(0, 0));
        desk.end(BusError::Closed);
        assert!(taken(&desk).is_some());
        assert!(matches!(desk.take().now_or_never(), Some(Err(BusError::Closed))));
        for wish in [Stop::Drain, Stop::Leave, Stop::Drain] {
            desk.stop(wish);
        }
        assert_eq!(desk.stopping(), Some(Stop::Leave));
    }
}
