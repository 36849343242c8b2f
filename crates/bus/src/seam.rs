//! The seam itself: what a service may ask of the log.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use contracts::{Message, TopicRole};
use futures::future::BoxFuture;

/// A place on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Partition, from 0.
    pub partition: i32,
    /// Offset in the partition, from 0; grows, with gaps allowed.
    pub offset: i64,
}

/// A message with its place and time on the log.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Where it stands.
    pub position: Position,
    /// When the log took it.
    pub timestamp: SystemTime,
    /// The message.
    pub message: Message,
}

/// Resolves when the log has the message for good, with its place there.
pub type Acknowledged = BoxFuture<'static, Result<Position, BusError>>;

/// Why the log did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BusError {
    /// Too much is waiting for acknowledgement; try again in a moment. Nothing was taken.
    #[error("the queue of unacknowledged messages is full")]
    QueueFull,
    /// The message is larger than the topic allows; it never will be taken.
    #[error("a message of {size} bytes is over the limit of {limit} bytes of topic {topic}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of the message, headers included.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The disk of the embedded log is full or over its limit. Nothing was taken.
    #[error("no room on the disk for the log: {0}")]
    DiskFull(String),
    /// The log cannot be reached or failed in a way that may pass.
    #[error("{0}")]
    Unavailable(String),
    /// The log refused for good: no such topic, no permission, damaged data, a member fenced off.
    #[error("{0}")]
    Fatal(String),
    /// The bus was closed.
    #[error("the bus is closed")]
    Closed,
}

impl BusError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::QueueFull | Self::DiskFull(_) | Self::Unavailable(_))
    }
}

/// Puts messages on the log. Shared by all tasks of a service.
pub trait Producer: Send + Sync {
    /// Hands a message over at once; the future resolves when the log has it. Calls for one key keep their order.
    /// The future may be dropped: the message is sent all the same.
    ///
    /// # Errors
    /// At once when the queue is full or the message too large; through the future for everything later.
    fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError>;
}

/// How a group's member consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Most messages delivered and not finished; beyond it, partitions pause.
    pub max_in_flight: usize,
    /// Most bytes delivered and not finished; beyond it, partitions pause. One message is always let through.
    pub max_in_flight_bytes: usize,
    /// How long a partition that is taken away, or a stop, waits for the work in hand.
    pub drain: Duration,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self { max_in_flight: 1024, max_in_flight_bytes: 64 << 20, drain: Duration::from_secs(20) }
    }
}

/// What a member of a group receives.
#[derive(Debug)]
pub enum Incoming {
    /// A message to work on. Say [`Finisher::finished`] of its position when its effects are stored.
    Delivery(Delivery),
    /// These partitions are this member's from now on; their first deliveries come after this.
    Assigned(Vec<i32>),
    /// These partitions are being taken away; nothing more of them comes. What is in hand should be finished soon:
    /// the bus waits [`ConsumerOptions::drain`] for it. Work finished later is ignored and will be done again elsewhere.
    Revoked(Vec<i32>),
    /// Messages of a partition were dropped by retention before this group consumed them.
    Gap {
        /// The partition.
        partition: i32,
        /// First offset that is lost.
        from: i64,
        /// First offset that is still there.
        to: i64,
    },
}

/// A member of a group. Groups start at the earliest message. Dropping it leaves the group without draining.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for what comes next. Cancel-safe: nothing is lost when the future is dropped.
    async fn next(&mut self) -> Result<Incoming, BusError>;

    /// The handle that marks work as done, for whoever finishes it.
    fn finisher(&self) -> Arc<dyn Finisher>;

    /// Takes no more, waits up to [`ConsumerOptions::drain`] until everything delivered is finished, commits and leaves.
    async fn close(self: Box<Self>) -> Result<(), BusError>;
}

/// Marks work as done. The bus commits, in the background, the lowest offset up to which everything is finished.
pub trait Finisher: Send + Sync {
    /// The effects of the message at this position are stored. Order does not matter; a position that is no longer this
    /// member's is ignored.
    fn finished(&self, position: Position);
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message there is.
    Earliest,
    /// After everything that is there now.
    Latest,
    /// At this offset, in every partition (for topics of one partition).
    Offset(i64),
    /// This many messages before the end of each partition, or at the oldest.
    Tail(u64),
    /// At the first message of this time or later.
    Time(SystemTime),
}

/// What a reader sees.
#[derive(Debug)]
pub enum ReaderItem {
    /// A message.
    Delivery(Delivery),
    /// Retention dropped messages before this reader came to them; it goes on at `to`.
    Gap {
        /// The partition.
        partition: i32,
        /// First offset that is lost.
        from: i64,
        /// First offset that is still there.
        to: i64,
    },
}

/// Reads a topic alone, in no group, all partitions, and leaves no trace.
#[async_trait]
pub trait Reader: Send {
    /// Waits for what comes next. Cancel-safe.
    async fn next(&mut self) -> Result<ReaderItem, BusError>;
}

/// What a partition holds: offsets `earliest..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The partition.
    pub partition: i32,
    /// Offset of its oldest message.
    pub earliest: i64,
    /// Offset that the next message will have.
    pub end: i64,
}

/// How far a group has come on a topic, all partitions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Messages that it has behind it; grows as it commits, and by what retention drops before it.
    pub finished: u64,
    /// Messages that it has before it.
    pub waiting: u64,
}

impl Progress {
    /// Of partitions with these ranges, where the group's next offset is what `next` says; none where it has none yet.
    pub(crate) fn of(ranges: &[Range], next: impl Fn(i32) -> Option<i64>) -> Self {
        let mut progress = Self { finished: 0, waiting: 0 };
        for range in ranges {
            // An offset that is not there is of before retention, or of another topic of this name.
            let there = next(range.partition).filter(|next| (range.earliest..=range.end).contains(next));
            let next = there.unwrap_or(range.earliest);
            progress.finished += next.unsigned_abs();
            progress.waiting += next.abs_diff(range.end);
        }
        progress
    }
}

/// A log. Cheap to share as `Arc<dyn Bus>`.
#[async_trait]
pub trait Bus: Send + Sync {
    /// What it is, for a start-up line: `kafka at broker:9092`, `embedded in ./data`.
    fn describe(&self) -> String;

    /// The name that a role's topic has on this log.
    fn topic(&self, role: TopicRole) -> &str;

    /// The producer; always the same one.
    fn producer(&self) -> Arc<dyn Producer>;

    /// Joins a group.
    async fn consumer(
        &self,
        role: TopicRole,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Box<dyn Consumer>, BusError>;

    /// Reads alone.
    async fn reader(&self, role: TopicRole, start: Start) -> Result<Box<dyn Reader>, BusError>;

    /// What each partition of a topic holds.
    async fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError>;

    /// Tells one topic from another that had the same name before it was deleted: stable over restarts, new on creation.
    async fn incarnation(&self, role: TopicRole) -> Result<String, BusError>;

    /// How far `group` has come; a group that does not exist yet has everything before it.
    async fn progress(&self, role: TopicRole, group: &str) -> Result<Progress, BusError>;

    /// When the oldest message that `group` has not yet committed was taken, or nothing when it has all; a group that does not
    /// exist yet has everything before it.
    async fn oldest_unconsumed(&self, role: TopicRole, group: &str) -> Result<Option<SystemTime>, BusError>;

    /// Succeeds when the log can be reached and has every topic.
    async fn check(&self) -> Result<(), BusError>;

    /// Sends what is queued, commits what is finished and closes files; what comes later gets [`BusError::Closed`].
    async fn close(&self) -> Result<(), BusError>;
}
