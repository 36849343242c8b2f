//! Writing a topic: a bounded queue that producers fill and one thread that empties it.
//!
//! The thread takes everything that waits, up to a few megabytes, stores it in one transaction, shows it to readers and only then
//! resolves the acknowledgements: the more is waiting, the less each message costs. A message's place is given here, in the order
//! of the queue, so a batch that finds no room leaves no trace.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use contracts::{Message, Topic};
use futures::FutureExt as _;
use tokio::sync::oneshot;

use super::keeper::Job;
use super::partitioner::partition_of;
use super::segment::Appender;
use super::settings::Options;
use super::topic::TopicLog;
use super::usage::Usage;
use super::{lock, record};
use crate::seam::{Acknowledged, BusError, Delivery, Position};

/// How much goes into one transaction.
const BATCH_MESSAGES: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;

/// Messages of a topic on their way to the disk.
pub struct Queue {
    limits: Options,
    state: Mutex<Waiting>,
    filled: Condvar,
}

type Acknowledge = oneshot::Sender<Result<Position, BusError>>;

#[derive(Default)]
struct Waiting {
    messages: VecDeque<Queued>,
    /// Not acknowledged: waiting here or being written.
    count: usize,
    bytes: usize,
    /// The partition of the next message without a key.
    turn: i32,
    closed: bool,
}

struct Queued {
    partition: i32,
    weight: usize,
    message: Message,
    acknowledge: Acknowledge,
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: Options) -> Self {
        Self { limits, state: Mutex::default(), filled: Condvar::new() }
    }

    /// Takes a message or refuses at once.
    pub fn push(&self, topic: &Topic, message: Message) -> Result<Acknowledged, BusError> {
        let weight = message.weight();
        if weight > topic.max_message_bytes {
            let limit = topic.max_message_bytes;
            return Err(BusError::TooLarge { topic: topic.name.clone(), size: weight, limit });
        }
        let (acknowledge, acknowledged) = oneshot::channel();
        {
            let mut waiting = lock(&self.state);
            if waiting.closed {
                return Err(BusError::Closed);
            }
            let bytes = waiting.bytes + weight;
            let over = waiting.count >= self.limits.max_queue_messages || bytes > self.limits.max_queue_bytes;
            if over && waiting.count > 0 {
                return Err(BusError::QueueFull);
            }
            let partition = match &message.key {
                Some(key) => partition_of(key, topic.partitions),
                None => waiting.next_in_turn(topic.partitions),
            };
            waiting.count += 1;
            waiting.bytes = bytes;
            waiting.messages.push_back(Queued { partition, weight, message, acknowledge });
        }
        self.filled.notify_one();
        Ok(acknowledged.map(|answer| answer.unwrap_or(Err(BusError::Closed))).boxed())
    }

    /// Takes no more; what waits is still written.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }

    /// What waits, up to a batch; empty after `patience` without any. Nothing once the queue is closed and empty.
    fn take(&self, patience: Duration) -> Option<Vec<Queued>> {
        let idle = |waiting: &mut Waiting| waiting.messages.is_empty() && !waiting.closed;
        let waited = self.filled.wait_timeout_while(lock(&self.state), patience, idle);
        let mut waiting = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        if waiting.messages.is_empty() && waiting.closed {
            return None;
        }
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(next) = waiting.messages.front() {
            if batch.len() >= BATCH_MESSAGES || (bytes + next.weight > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            bytes += next.weight;
            batch.extend(waiting.messages.pop_front());
        }
        Some(batch)
    }

    /// These were acknowledged or failed. Gives what is left.
    fn settle(&self, count: usize, bytes: usize) -> (usize, usize) {
        let mut waiting = lock(&self.state);
        waiting.count -= count;
        waiting.bytes -= bytes;
        (waiting.count, waiting.bytes)
    }
}

impl Waiting {
    fn next_in_turn(&mut self, partitions: i32) -> i32 {
        let partition = self.turn % partitions;
        self.turn = (partition + 1) % partitions;
        partition
    }
}

/// The thread that writes one topic.
pub struct Writer {
    pub log: Arc<TopicLog>,
    pub queue: Arc<Queue>,
    pub usage: Arc<Usage>,
    pub keeper: Sender<Job>,
    pub options: Options,
    pub appender: Appender,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub fn run(mut self) {
        let longest = self.log.longest_writing();
        let patience = longest.min(Duration::from_secs(1));
        // When the segment got its first message, as far as this process knows.
        let mut begun = (self.log.active_bytes() > 0).then(Instant::now);
        let mut prepared = false;
        while let Some(batch) = self.queue.take(patience) {
            let age = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
            let bytes = self.log.active_bytes();
            if bytes >= self.options.segment_bytes || age >= longest {
                match self.next_segment() {
                    Ok(()) => (begun, prepared) = (None, false),
                    Err(error) => tracing::warn!(topic = self.log.topic.name, %error, "cannot begin a new segment"),
                }
            } else if !prepared && (bytes >= self.options.segment_bytes / 2 || age >= longest / 2) {
                prepared = self.keeper.send(Job::Prepare(Arc::clone(&self.log))).is_ok();
            }
            if !batch.is_empty() {
                begun = begun.or_else(|| Some(Instant::now()));
                self.write(batch);
            }
        }
    }

    fn next_segment(&mut self) -> Result<(), BusError> {
        let full = std::mem::replace(&mut self.appender, self.log.begin_segment()?);
        // The keeper is gone only when the bus closes, and then the next start seals.
        let _ = self.keeper.send(Job::Seal(Arc::clone(&self.log), full));
        Ok(())
    }

    fn write(&mut self, batch: Vec<Queued>) {
        let count = batch.len();
        let bytes = batch.iter().map(|queued| queued.weight).sum();
        let (deliveries, acknowledgements) = self.place(batch);
        let stored = if self.usage.has_room(self.log.role, bytes) {
            self.appender.append(deliveries.iter())
        } else {
            Err(BusError::DiskFull(self.usage.describe()))
        };
        let answer = match stored {
            Ok(()) => {
                self.log.publish(deliveries);
                self.log.meters.produced(count, bytes);
                Ok(())
            }
            Err(error) => Err(error),
        };
        // Before the acknowledgements: who was acknowledged finds room again.
        let (waiting, waiting_bytes) = self.queue.settle(count, bytes);
        self.log.meters.queued(waiting, waiting_bytes);
        self.log.set_failure(answer.as_ref().err());
        for (position, acknowledge) in acknowledgements {
            // Nobody has to wait for an acknowledgement.
            let _ = acknowledge.send(answer.clone().map(|()| position));
        }
    }

    /// Gives each message its place and time.
    fn place(&self, batch: Vec<Queued>) -> (Vec<Delivery>, Vec<(Position, Acknowledge)>) {
        let (mut next, newest) = self.log.ends();
        // As precise as it is stored, so that memory and disk agree.
        let timestamp = record::system_time(record::micros(SystemTime::now().max(newest)));
        let placed = batch.into_iter().map(|Queued { partition, message, acknowledge, .. }| {
            let offset = &mut next[partition as usize];
            let position = Position { partition, offset: *offset };
            *offset += 1;
            (Delivery { position, timestamp, message }, (position, acknowledge))
        });
        placed.unzip()
    }
}
