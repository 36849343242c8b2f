//! The contract suite: the guarantees of the seam, as scenarios that every bus must pass. `contract_suite!` makes a test of each.
//!
//! Every scenario gets an empty [`TestLog`]. It opens one instance at a time, as the embedded log requires.

mod groups;
mod messages;
mod positions;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bus::{
    Bus, BusError, Consumer, ConsumerOptions, Delivery, Finisher, Incoming, Position, Progress, Range, RangeReader,
    Reader, ReaderItem, Start,
};
use bytes::Bytes;
use contracts::{Headers, Message, TopicRole};
use futures::future::try_join_all;
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::time::{sleep, timeout};

pub use groups::*;
pub use messages::*;
pub use positions::*;

/// Time limit for each step, so that a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The consumer group of the scenarios.
pub const GROUP: &str = "suite";

/// A log for one scenario: empty topics with three partitions (`alerts` has one).
#[async_trait]
pub trait TestLog: Send + Sync + 'static {
    /// Opens the log as in another process, with this limit on unacknowledged bytes. The previous instance is closed.
    async fn open_with_queue(&self, bytes: usize) -> Arc<dyn Bus>;

    /// A command that runs [`write_until_killed`] of this test binary on this log.
    fn writing_process(&self) -> Command;

    /// Opens the log with a large queue.
    async fn open(&self) -> Arc<dyn Bus> {
        self.open_with_queue(64 << 20).await
    }
}

/// Makes a test of every scenario. `$run` passes it a log; attributes in brackets go to each test.
macro_rules! contract_suite {
    ($run:path, $attributes:tt) => {
        contract_suite!(@each $run, $attributes:
            messages_arrive_as_they_were_sent
            messages_of_a_key_keep_their_order
            a_reader_starts_at_the_requested_position
            a_reader_waits_for_new_messages
            a_dropped_wait_loses_nothing
            acknowledged_messages_survive_kill_9
            unfinished_messages_are_delivered_again
            the_commit_is_the_lowest_unfinished_offset
            finished_messages_are_not_delivered_again
            closing_waits_for_messages_in_flight
            groups_are_independent
            a_full_queue_refuses_at_once_and_loses_nothing
            a_message_over_the_topics_limit_is_refused
            the_messages_in_flight_of_a_consumer_are_bounded
            the_bytes_in_flight_of_a_consumer_are_bounded
            ranges_are_the_offsets_of_each_partition
            ranges_are_read_from_the_first_uncommitted_to_their_end
            the_oldest_unconsumed_is_the_first_uncommitted
            progress_counts_finished_and_waiting_messages
            the_topic_id_survives_a_restart
            a_closed_bus_has_sent_its_queue_and_answers_closed
        );
    };
    (@each $run:path, $attributes:tt: $($scenario:ident)*) => {
        $(contract_suite!(@one $run, $attributes, $scenario);)*
    };
    (@one $run:path, [$($attribute:tt)*], $scenario:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $scenario() {
            $run($crate::suite::$scenario).await;
        }
    };
}

/// A group member whose waits time out.
pub struct TestMember {
    pub consumer: Box<dyn Consumer>,
    finisher: Arc<dyn Finisher>,
}

impl TestMember {
    pub async fn of(bus: &dyn Bus) -> Self {
        Self::with(bus, GROUP, ConsumerOptions::default()).await
    }

    /// Joins a group of `frames` and waits for its partitions.
    pub async fn with(bus: &dyn Bus, group: &str, options: ConsumerOptions) -> Self {
        let mut consumer = bus.consumer(TopicRole::Frames, group, options).await.unwrap();
        let first = timeout(TIMEOUT, consumer.next())
            .await
            .expect("no partitions were assigned within the time limit")
            .unwrap();
        assert!(matches!(&first, Incoming::Assigned(partitions) if partitions.len() == 3), "{first:?}");
        let finisher = consumer.finisher();
        Self { consumer, finisher }
    }

    /// Receives this many messages without finishing them.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            match timeout(TIMEOUT, self.consumer.next()).await {
                Ok(Ok(Incoming::Delivery(delivery))) => taken.push(delivery),
                other => panic!("{} of {count} messages arrived, then {other:?}", taken.len()),
            }
        }
        taken
    }

    pub fn finish<'a>(&self, deliveries: impl IntoIterator<Item = &'a Delivery>) {
        deliveries.into_iter().for_each(|delivery| self.finisher.finished(delivery.position));
    }

    async fn nothing_arrives(&mut self) -> bool {
        timeout(Duration::from_millis(500), self.consumer.next()).await.is_err()
    }
}

/// Sends all at once and waits for all acknowledgements.
pub async fn send(bus: &dyn Bus, role: TopicRole, messages: impl IntoIterator<Item = Message>) -> Vec<Position> {
    let producer = bus.producer();
    let sent: Vec<_> = messages.into_iter().map(|message| producer.send(role, message).unwrap()).collect();
    timeout(TIMEOUT, try_join_all(sent)).await.expect("no acknowledgements within the time limit").unwrap()
}

/// Reads this many messages.
pub async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::with_capacity(count);
    while deliveries.len() < count {
        match timeout(TIMEOUT, reader.next()).await {
            Ok(Ok(ReaderItem::Delivery(delivery))) => deliveries.push(delivery),
            other => panic!("{} of {count} messages arrived, then {other:?}", deliveries.len()),
        }
    }
    deliveries
}

/// A message of 20 bytes with a number.
pub fn message(key: &str, number: usize) -> Message {
    numbered(key, number, 20)
}

/// A message of this many bytes with a number.
pub fn numbered(key: &str, number: usize, bytes: usize) -> Message {
    let value: Vec<u8> = (0..bytes).map(|at| (at * 31 + number) as u8).collect();
    Message { key: Some(key.to_owned().into()), headers: Headers::new().with("number", number), value: value.into() }
}

pub fn number(delivery: &Delivery) -> usize {
    delivery.message.headers.required("number").unwrap()
}

pub fn numbers(deliveries: &[Delivery]) -> Vec<usize> {
    deliveries.iter().map(number).collect()
}

fn key(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.key.clone().unwrap().to_vec()).unwrap()
}

fn length(range: &Range) -> usize {
    usize::try_from(range.end - range.earliest).unwrap()
}
