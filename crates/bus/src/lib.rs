//! The log that carries events, behind one seam: Kafka in production, an embedded durable log in a single process.
//!
//! In: a [`Message`](contracts::Message) for the topic of a [`TopicRole`](contracts::TopicRole). Out: a [`Delivery`], to a member of a consumer group
//! ([`Consumer`]) or to a [`Reader`] without a group.
//!
//! Guarantees of both, tested by one contract suite:
//! - a message that [`Producer::send`] acknowledged survives kill -9 of any process;
//! - messages of one key keep their order;
//! - a message that was not [`finished`](Finisher::finished) is delivered again after a crash, a stop or a rebalance; an offset
//!   is committed only when every message before it is finished;
//! - a full queue refuses messages ([`BusError::QueueFull`]) instead of growing, and the number of messages in flight of a
//!   consumer is bounded;
//! - retention drops old messages; the embedded log keeps those that a group has yet to consume. A consumer or reader that
//!   missed dropped messages gets a [`Gap`](Incoming::Gap).

mod args;
pub mod embedded;
mod in_flight;
pub mod kafka;
mod metrics;
mod range_reader;
mod seam;

use contracts::Topics;

pub use args::{KafkaArgs, TopicArgs};
pub use embedded::EmbeddedBus;
pub use kafka::{KafkaBus, KafkaConfig};
pub use range_reader::RangeReader;
pub use seam::{
    Acknowledged, Bus, BusError, Consumer, ConsumerOptions, Delivery, Finisher, Incoming, Position, Producer, Progress,
    Range, Reader, ReaderItem, Start,
};

/// Logs the topics that are used by default because the topics file has no entry for their role.
fn log_defaulted(topics: &Topics) {
    for role in topics.defaulted() {
        let topic = topics.get(role);
        tracing::warn!(
            role = role.as_str(),
            topic = topic.name,
            partitions = topic.partitions,
            "the topics file has no entry for this role; its default topic is used"
        );
    }
}
