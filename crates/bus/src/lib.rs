//! The log that carries events: Kafka in production, an embedded durable log in one process, behind one seam.
//!
//! In: [`Message`](contracts::Message)s for a [`TopicRole`](contracts::TopicRole)'s topic. Out: [`Delivery`]s, to the members of a
//! group ([`Consumer`]) or to a [`Reader`] that stands alone.
//!
//! Promised, and held by one contract suite that runs against both:
//! - what [`Producer::send`] acknowledged survives kill -9 of any process;
//! - messages of one key keep their order;
//! - work that was not [`finished`](Finisher::finished) is delivered again after a crash, a stop or a move of its
//!   partition; an offset is committed only when everything before it is finished;
//! - a full queue refuses ([`BusError::QueueFull`]) instead of growing, and a consumer holds a bounded number of messages;
//! - retention drops the old; embedded, never what a group has yet to consume. A reader behind it is told ([`Incoming::Gap`]).

mod args;
pub mod embedded;
mod in_flight;
pub mod kafka;
mod meters;
mod seam;

pub use args::{KafkaArgs, TopicArgs};
pub use embedded::EmbeddedBus;
pub use kafka::{KafkaBus, KafkaConfig};
pub use seam::{
    Acknowledged, Bus, BusError, Consumer, ConsumerOptions, Delivery, Finisher, Incoming, Position, Producer, Progress,
    Range, Reader, ReaderItem, Start,
};
