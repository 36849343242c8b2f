//! The seam: the traits that both buses implement, and their types.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use contracts::{Message, TopicRole};
use futures::future::BoxFuture;

/// The position of a message in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Partition, 0 or more.
    pub partition: i32,
    /// Offset in the partition, 0 or more. Offsets ascend and may have gaps.
    pub offset: i64,
}

/// A message with its position and time on the log.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its position.
    pub position: Position,
    /// When the log accepted it.
    pub timestamp: SystemTime,
    /// The message.
    pub message: Message,
}

/// Resolves with the message's position when the log has stored it durably.
pub type Acknowledged = BoxFuture<'static, Result<Position, BusError>>;

/// Why an operation of the log failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// Too many messages are unacknowledged. Nothing was accepted; retry in a moment.
    #[error("the queue of unacknowledged messages is full")]
    QueueFull,
    /// The message exceeds the limit of its topic. A retry cannot succeed.
    #[error("a message of {size} bytes is over the limit of {limit} bytes of topic {topic}")]
    TooLarge {
        /// Name of the topic.
        topic: String,
        /// Size of the message with its headers, in bytes.
        size: usize,
        /// The topic's `max_message_bytes`.
        limit: usize,
    },
    /// The disk of the embedded log is full or over its limit. Nothing was accepted.
    #[error("no room on the disk for the log: {0}")]
    DiskFull(String),
    /// The log is unreachable or failed temporarily.
    #[error("{0}")]
    Unavailable(String),
    /// The log refused for good: no such topic, no permission, damaged data, a fenced member.
    #[error("{0}")]
    Fatal(String),
    /// The bus was closed.
    #[error("the bus is closed")]
    Closed,
}

impl BusError {
    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::QueueFull | Self::DiskFull(_) | Self::Unavailable(_))
    }
}

/// Sends messages. Shared by all tasks of a service.
pub trait Producer: Send + Sync {
    /// Queues a message and returns at once; the future resolves when the log has stored it. Messages of one key keep their order.
    /// The message is sent even if the future is dropped.
    ///
    /// # Errors
    /// At once when the queue is full or the message is too large; through the future for later errors.
    fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError>;
}

/// Limits of a member of a consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Maximum number of messages in flight (delivered and not finished). Partitions pause at this limit.
    pub max_in_flight: usize,
    /// Maximum number of bytes in flight. Partitions pause at this limit; a single message may exceed it.
    pub max_in_flight_bytes: usize,
    /// How long a revoked partition, or a stop, waits for messages in flight.
    pub drain: Duration,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self { max_in_flight: 1024, max_in_flight_bytes: 64 << 20, drain: Duration::from_secs(20) }
    }
}

/// What a member of a consumer group receives.
#[derive(Debug)]
pub enum Incoming {
    /// A message. Pass its position to [`Finisher::finished`] when its effects are stored.
    Delivery(Delivery),
    /// Partitions were assigned to this member. Their deliveries come after this.
    Assigned(Vec<i32>),
    /// Partitions are being revoked; no more of their messages are delivered. The bus waits up to
    /// [`ConsumerOptions::drain`] for their messages in flight. A message that is finished later is
    /// delivered again to another member.
    Revoked(Vec<i32>),
    /// Retention dropped messages before this group consumed them.
    Gap {
        /// The partition.
        partition: i32,
        /// First offset that was dropped.
        from: i64,
        /// First offset that still exists.
        to: i64,
    },
}

/// A member of a consumer group. A new group starts at the earliest message. Dropping the member leaves the group at once.
#[async_trait]
pub trait Consumer: Send {
    /// The next message or change of the assignment. Cancel-safe: nothing is lost when the future is dropped.
    async fn next(&mut self) -> Result<Incoming, BusError>;

    /// Marks messages as finished.
    fn finisher(&self) -> Arc<dyn Finisher>;

    /// Stops reading, waits up to [`ConsumerOptions::drain`] until no message is in flight, commits and leaves the group.
    async fn close(self: Box<Self>) -> Result<(), BusError>;
}

/// Marks messages as finished. The bus commits in the background, per partition, the lowest offset up to which all are finished.
pub trait Finisher: Send + Sync {
    /// The effects of the message at this position are stored. The order of calls does not matter. A position of a partition
    /// that is no longer assigned to this member is ignored.
    fn finished(&self, position: Position);
}

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message.
    Earliest,
    /// After the newest message at the time of the call.
    Latest,
    /// At this offset of every partition; meant for topics of one partition.
    Offset(i64),
    /// This many messages before the end of each partition, or at its oldest.
    Tail(u64),
    /// At the first message of this time or a later one.
    Time(SystemTime),
}

/// What a reader receives.
#[derive(Debug)]
pub enum ReaderItem {
    /// A message.
    Delivery(Delivery),
    /// Retention dropped messages before this reader reached them. It continues at `to`. A reader of ranges also reports the offsets
    /// at the end of a range that no message has.
    Gap {
        /// The partition.
        partition: i32,
        /// First offset that was dropped.
        from: i64,
        /// First offset that still exists.
        to: i64,
    },
}

/// Reads all partitions of a topic without a consumer group. It commits nothing.
#[async_trait]
pub trait Reader: Send {
    /// The next message or gap. Cancel-safe.
    async fn next(&mut self) -> Result<ReaderItem, BusError>;
}

/// The range of offsets of a partition: `earliest..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The partition.
    pub partition: i32,
    /// Offset of its oldest message.
    pub earliest: i64,
    /// Offset of the next message to come.
    pub end: i64,
}

impl Range {
    /// The part that a group with this committed offset has not consumed. An offset outside the range counts as none: retention dropped
    /// its message, or it belongs to a deleted topic of the same name.
    pub(crate) fn unconsumed(self, committed: Option<i64>) -> Self {
        let valid = committed.filter(|offset| (self.earliest..=self.end).contains(offset));
        Self { earliest: valid.unwrap_or(self.earliest), ..self }
    }
}

/// How far a group has consumed a topic, over all partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Messages before its committed offsets. Grows with every commit, and when retention drops messages that the group has not consumed.
    pub finished: u64,
    /// Messages from its committed offsets to the end.
    pub waiting: u64,
    /// Those of the partition that has the most.
    pub most_waiting: u64,
}

impl Progress {
    /// The progress of a group that has not consumed these ranges.
    fn before(unconsumed: &[Range]) -> Self {
        let waiting = |range: &Range| range.earliest.abs_diff(range.end);
        Self {
            finished: unconsumed.iter().map(|range| range.earliest.unsigned_abs()).sum(),
            waiting: unconsumed.iter().map(waiting).sum(),
            most_waiting: unconsumed.iter().map(waiting).max().unwrap_or_default(),
        }
    }
}

/// A log. Shared as `Arc<dyn Bus>`.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Description for a log line at start: `kafka at broker:9092`, `embedded in ./data`.
    fn describe(&self) -> String;

    /// The name of a role's topic on this log.
    fn topic(&self, role: TopicRole) -> &str;

    /// The producer; every call returns the same one.
    fn producer(&self) -> Arc<dyn Producer>;

    /// Joins a consumer group.
    async fn consumer(
        &self,
        role: TopicRole,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Box<dyn Consumer>, BusError>;

    /// Reads without a group.
    async fn reader(&self, role: TopicRole, start: Start) -> Result<Box<dyn Reader>, BusError>;

    /// Reads from the beginning of these ranges, of all partitions, and beyond their ends; [`RangeReader`](crate::RangeReader) stops
    /// there.
    async fn reader_of(&self, role: TopicRole, ranges: &[Range]) -> Result<Box<dyn Reader>, BusError>;

    /// The range of offsets of each partition of a topic.
    async fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError>;

    /// Topic id: stable over restarts, and different for a topic that was deleted and created again.
    async fn topic_id(&self, role: TopicRole) -> Result<String, BusError>;

    /// The range of each partition that `group` has not committed. A group that does not exist yet has committed nothing.
    async fn unconsumed(&self, role: TopicRole, group: &str) -> Result<Vec<Range>, BusError>;

    /// How far `group` has consumed a topic.
    async fn progress(&self, role: TopicRole, group: &str) -> Result<Progress, BusError> {
        Ok(Progress::before(&self.unconsumed(role, group).await?))
    }

    /// The time of the oldest message that `group` has not committed; `None` when it has committed all. A group that does not exist
    /// yet has committed nothing.
    async fn oldest_unconsumed(&self, role: TopicRole, group: &str) -> Result<Option<SystemTime>, BusError>;

    /// Succeeds when the log is reachable and has every topic.
    async fn check(&self) -> Result<(), BusError>;

    /// Sends queued messages, commits finished ones and closes files. Later calls get [`BusError::Closed`].
    async fn close(&self) -> Result<(), BusError>;
}
