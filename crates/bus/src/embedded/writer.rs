//! Writes a topic: a bounded queue that producers fill, and one thread that empties it.
//!
//! The thread takes all waiting messages, up to a few megabytes, stores them in one transaction,
//! makes them visible to readers and only then resolves the acknowledgements. So the cost per
//! message falls when many messages wait. Positions are assigned here, in the order of the queue,
//! so a batch that fails leaves no gap.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime};

use contracts::{Message, Topic};
use futures::FutureExt as _;
use tokio::sync::oneshot;

use super::disk_usage::DiskUsage;
use super::maintenance::Job;
use super::partitioner::partition_of;
use super::segment::Appender;
use super::settings::Options;
use super::topic::TopicLog;
use super::{lock, record};
use crate::seam::{Acknowledged, BusError, Delivery, Position};

/// Maximum number of messages and bytes of one transaction.
const BATCH_MESSAGES: usize = 1024;
const BATCH_BYTES: usize = 4 << 20;

/// Messages of a topic that wait to be written.
pub struct Queue {
    limits: Options,
    state: Mutex<QueueState>,
    filled: Condvar,
}

type Acknowledge = oneshot::Sender<Result<Position, BusError>>;

#[derive(Default)]
struct QueueState {
    messages: VecDeque<Queued>,
    /// Unacknowledged messages: those that wait and those being written.
    count: usize,
    bytes: usize,
    /// Partition of the next message without a key.
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

    /// Accepts a message or refuses it at once.
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

    /// Accepts no further messages; waiting ones are still written.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }

    /// The waiting messages, up to a batch; an empty batch after `timeout`. `None` when the queue is closed and empty.
    fn take(&self, timeout: Duration) -> Option<Vec<Queued>> {
        let idle = |waiting: &mut QueueState| waiting.messages.is_empty() && !waiting.closed;
        let waited = self.filled.wait_timeout_while(lock(&self.state), timeout, idle);
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

    /// Removes messages that were acknowledged or failed. Returns the numbers of messages and bytes that are still unacknowledged.
    fn remove_finished(&self, count: usize, bytes: usize) -> (usize, usize) {
        let mut waiting = lock(&self.state);
        waiting.count -= count;
        waiting.bytes -= bytes;
        (waiting.count, waiting.bytes)
    }
}

impl QueueState {
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
    pub usage: Arc<DiskUsage>,
    pub maintenance: Sender<Job>,
    pub options: Options,
    pub appender: Appender,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub fn run(mut self) {
        let longest = self.log.longest_writing();
        let timeout = longest.min(Duration::from_secs(1));
        // Time at which this process opened the segment or wrote its first message.
        let mut started = (self.log.active_bytes() > 0).then(Instant::now);
        let mut prepared = false;
        while let Some(batch) = self.queue.take(timeout) {
            let age = started.map_or(Duration::ZERO, |started| started.elapsed());
            let bytes = self.log.active_bytes();
            if bytes >= self.options.segment_bytes || age >= longest {
                match self.next_segment() {
                    Ok(()) => (started, prepared) = (None, false),
                    Err(error) => tracing::warn!(topic = self.log.topic.name, %error, "cannot begin a new segment"),
                }
            } else if !prepared && (bytes >= self.options.segment_bytes / 2 || age >= longest / 2) {
                prepared = self.maintenance.send(Job::Prepare(Arc::clone(&self.log))).is_ok();
            }
            if !batch.is_empty() {
                started = started.or_else(|| Some(Instant::now()));
                self.write(batch);
            }
        }
    }

    fn next_segment(&mut self) -> Result<(), BusError> {
        let full = std::mem::replace(&mut self.appender, self.log.begin_segment()?);
        // Maintenance ends only when the bus closes; then the next start seals the segment.
        let _ = self.maintenance.send(Job::Seal(Arc::clone(&self.log), full));
        Ok(())
    }

    fn write(&mut self, batch: Vec<Queued>) {
        let count = batch.len();
        let bytes = batch.iter().map(|queued| queued.weight).sum();
        let (deliveries, acknowledgements) = self.assign_positions(batch);
        let stored = if self.usage.has_room(self.log.role, bytes) {
            self.appender.append(deliveries.iter())
        } else {
            Err(BusError::DiskFull(self.usage.describe()))
        };
        let answer = match stored {
            Ok(()) => {
                self.log.publish(deliveries);
                self.log.metrics.produced(count, bytes);
                Ok(())
            }
            Err(error) => Err(error),
        };
        // Before the acknowledgements, so that a producer can send again as soon as it gets one.
        let (waiting, waiting_bytes) = self.queue.remove_finished(count, bytes);
        self.log.metrics.queued(waiting, waiting_bytes);
        self.log.set_failure(answer.as_ref().err());
        for (position, acknowledge) in acknowledgements {
            // The caller may have dropped its future.
            let _ = acknowledge.send(answer.clone().map(|()| position));
        }
    }

    /// Gives each message its position and time.
    fn assign_positions(&self, batch: Vec<Queued>) -> (Vec<Delivery>, Vec<(Position, Acknowledge)>) {
        let (mut next, newest) = self.log.ends();
        // Rounded to microseconds, so that memory and disk agree.
        let timestamp = record::system_time(record::micros(SystemTime::now().max(newest)));
        let assigned = batch.into_iter().map(|Queued { partition, message, acknowledge, .. }| {
            let offset = &mut next[partition as usize];
            let position = Position { partition, offset: *offset };
            *offset += 1;
            (Delivery { position, timestamp, message }, (position, acknowledge))
        });
        assigned.unzip()
    }
}
