//! The worker's side of a group's member: takes from the desk what the member's thread put there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use contracts::TopicRole;
use tokio_util::sync::CancellationToken;

use super::config::KafkaConfig;
use super::context::bus_error;
use super::desk::{Desk, Stop};
use super::member::Member;
use crate::meters::Meters;
use crate::seam::{BusError, Consumer, ConsumerOptions, Finisher, Incoming};

/// How long leaving a group may take after the work is drained.
const LEAVING: Duration = Duration::from_secs(20);

/// A consumer of a [`KafkaBus`](super::KafkaBus).
pub struct KafkaConsumer {
    desk: Arc<Desk>,
    /// Set when the member has left its group.
    left: CancellationToken,
    options: ConsumerOptions,
    meters: Meters,
}

/// What the bus keeps of a member.
pub struct Membership {
    role: TopicRole,
    group: String,
    desk: Weak<Desk>,
    left: CancellationToken,
}

impl KafkaConsumer {
    /// Joins a group on a thread of its own.
    pub fn join(
        config: &KafkaConfig,
        role: TopicRole,
        topic: &str,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<(Self, Membership), BusError> {
        let desk = Arc::new(Desk::new(options));
        let doing = format!("join group {group}");
        // A rebalancing waits for members as long as they may be silent: longer than they may drain.
        let silence = Duration::from_secs(300).max(options.drain * 2);
        let mut settings = config.member(group)?;
        settings.set("max.poll.interval.ms", silence.as_millis().to_string());
        let member =
            Member::join(&settings, topic, options, desk.clone()).map_err(|error| bus_error(&doing, &error))?;
        let left = CancellationToken::new();
        let ending = Ending { desk: desk.clone(), left: left.clone() };
        std::thread::Builder::new()
            .name(format!("kafka-{}", role.as_str()))
            .spawn(move || {
                member.run();
                drop(ending);
            })
            .map_err(|error| BusError::Fatal(format!("{doing}: {error}")))?;
        let membership = Membership { role, group: group.to_owned(), desk: Arc::downgrade(&desk), left: left.clone() };
        Ok((Self { desk, left, options, meters: Meters::of(role) }, membership))
    }
}

/// Tells that a member's thread is over, however it ended.
struct Ending {
    desk: Arc<Desk>,
    left: CancellationToken,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Only a thread that panicked has given no reason before.
        self.desk.end(BusError::Fatal("the thread of a member of a Kafka group died; restart".to_owned()));
        self.left.cancel();
    }
}

impl Membership {
    /// Whether the member has left its group.
    pub fn is_over(&self) -> bool {
        self.left.is_cancelled()
    }

    /// When a member of this group that was dropped is still leaving: what is cancelled when it has left.
    pub fn leaving(&self, role: TopicRole, group: &str) -> Option<CancellationToken> {
        let same = self.role == role && self.group == group;
        let stopping = || self.desk.upgrade().is_some_and(|desk| desk.stopping().is_some());
        (same && stopping()).then(|| self.left.clone())
    }

    /// Asks the member to leave at once, committing what is finished.
    pub fn end(&self) {
        if let Some(desk) = self.desk.upgrade() {
            desk.stop(Stop::Leave);
        }
    }

    /// Has the member leave and waits for it.
    pub async fn leave(self) -> Result<(), BusError> {
        self.end();
        until_left(&self.left, Duration::ZERO).await
    }
}

/// Waits until a member that was asked to leave has left.
pub async fn until_left(left: &CancellationToken, drain: Duration) -> Result<(), BusError> {
    let too_long = "leaving the Kafka group took too long; its partitions move by themselves";
    let waited = tokio::time::timeout(drain + LEAVING, left.cancelled()).await;
    waited.map_err(|_| BusError::Unavailable(too_long.to_owned()))
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn next(&mut self) -> Result<Incoming, BusError> {
        let incoming = self.desk.take().await?;
        if let Incoming::Delivery(delivery) = &incoming {
            self.meters.consumed(&delivery.message);
        }
        Ok(incoming)
    }

    fn finisher(&self) -> Arc<dyn Finisher> {
        self.desk.clone()
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        self.desk.stop(Stop::Drain);
        until_left(&self.left, self.options.drain).await
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.desk.stop(Stop::Leave);
    }
}
