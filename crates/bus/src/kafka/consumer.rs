//! The consumer of a group member. It takes messages from the queue that the member's thread fills.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use contracts::TopicRole;
use tokio_util::sync::CancellationToken;

use super::config::KafkaConfig;
use super::context::bus_error;
use super::member::Member;
use super::member_queue::{MemberQueue, Stop};
use crate::metrics::TopicMetrics;
use crate::seam::{BusError, Consumer, ConsumerOptions, Finisher, Incoming};

/// Time limit for leaving a group after the drain.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(20);

/// A consumer of a [`KafkaBus`](super::KafkaBus).
pub struct KafkaConsumer {
    queue: Arc<MemberQueue>,
    /// Cancelled when the member has left its group.
    left: CancellationToken,
    options: ConsumerOptions,
    metrics: TopicMetrics,
}

/// The bus's handle of a member.
pub struct Membership {
    role: TopicRole,
    group: String,
    queue: Weak<MemberQueue>,
    left: CancellationToken,
}

impl KafkaConsumer {
    /// Joins a group on a new thread.
    pub fn join(
        config: &KafkaConfig,
        role: TopicRole,
        topic: &str,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<(Self, Membership), BusError> {
        let queue = Arc::new(MemberQueue::new(options));
        let action = format!("join group {group}");
        // A rebalance waits for members that do not poll; the wait must be longer than their drain.
        let poll_interval = Duration::from_secs(300).max(options.drain * 2);
        let mut settings = config.member(group)?;
        settings.set("max.poll.interval.ms", poll_interval.as_millis().to_string());
        let member =
            Member::join(&settings, topic, options, queue.clone()).map_err(|error| bus_error(&action, &error))?;
        let left = CancellationToken::new();
        let ending = Ending { queue: queue.clone(), left: left.clone() };
        std::thread::Builder::new()
            .name(format!("kafka-{}", role.as_str()))
            .spawn(move || {
                member.run();
                drop(ending);
            })
            .map_err(|error| BusError::Fatal(format!("{action}: {error}")))?;
        let membership =
            Membership { role, group: group.to_owned(), queue: Arc::downgrade(&queue), left: left.clone() };
        Ok((Self { queue, left, options, metrics: TopicMetrics::of(role) }, membership))
    }
}

/// Ends the queue when the member's thread ends, even by a panic.
struct Ending {
    queue: Arc<MemberQueue>,
    left: CancellationToken,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // The thread sets a reason itself, unless it panicked.
        self.queue.end(BusError::Fatal("the thread of a Kafka group member panicked; restart this service".to_owned()));
        self.left.cancel();
    }
}

impl Membership {
    /// Whether the member has left its group.
    pub fn is_over(&self) -> bool {
        self.left.is_cancelled()
    }

    /// For a dropped member of this group that is still leaving: the token that is cancelled when it has left.
    pub fn leaving(&self, role: TopicRole, group: &str) -> Option<CancellationToken> {
        let same = self.role == role && self.group == group;
        let stopping = || self.queue.upgrade().is_some_and(|queue| queue.stopping().is_some());
        (same && stopping()).then(|| self.left.clone())
    }

    /// Requests the member to commit finished messages and leave at once.
    pub fn end(&self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.stop(Stop::Leave);
        }
    }

    /// Requests the member to leave, and waits until it has left.
    pub async fn leave(self) -> Result<(), BusError> {
        self.end();
        until_left(&self.left, Duration::ZERO).await
    }
}

/// Waits until a leaving member has left, at most for `drain` and a few seconds.
pub async fn until_left(left: &CancellationToken, drain: Duration) -> Result<(), BusError> {
    let too_long = "leaving the Kafka group took too long; Kafka reassigns its partitions after the session timeout";
    let waited = tokio::time::timeout(drain + LEAVE_TIMEOUT, left.cancelled()).await;
    waited.map_err(|_| BusError::Unavailable(too_long.to_owned()))
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn next(&mut self) -> Result<Incoming, BusError> {
        let incoming = self.queue.take().await?;
        if let Incoming::Delivery(delivery) = &incoming {
            self.metrics.consumed(&delivery.message);
        }
        Ok(incoming)
    }

    fn finisher(&self) -> Arc<dyn Finisher> {
        self.queue.clone()
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        self.queue.stop(Stop::Drain);
        until_left(&self.left, self.options.drain).await
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.queue.stop(Stop::Leave);
    }
}
