//! Reads all partitions of a topic alone: it joins no group and commits nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use contracts::TopicRole;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::cluster::{Beginning, Cluster};
use super::config::KafkaConfig;
use super::context::{Context, bus_error};
use super::delivery::delivery;
use crate::meters::Meters;
use crate::seam::{BusError, Delivery, Position, Reader, ReaderItem};

/// A reader of a [`KafkaBus`](super::KafkaBus).
pub struct KafkaReader {
    /// There until it is dropped.
    stream: Option<StreamConsumer<Context>>,
    role: TopicRole,
    cluster: Arc<Cluster>,
    closed: CancellationToken,
    meters: Meters,
    /// The offset that should come next, by partition.
    expected: HashMap<i32, i64>,
    /// What [`Reader::next`] gives before it looks further.
    ready: VecDeque<ReaderItem>,
    /// A message that came later than expected: was something dropped before it?
    jumped: Option<Delivery>,
}

impl KafkaReader {
    /// Opens a reader at these places.
    pub fn open(
        config: &KafkaConfig,
        role: TopicRole,
        topic: &str,
        beginnings: &[Beginning],
        cluster: Arc<Cluster>,
        closed: CancellationToken,
    ) -> Result<Self, BusError> {
        let doing = format!("read topic {topic}");
        let failed = |error| bus_error(&doing, &error);
        // librdkafka wants a group's name even of those that join none; nothing is ever stored under it.
        let group = format!("sightline-reader-{}", Uuid::new_v4());
        let stream: StreamConsumer<Context> =
            StreamConsumer::from_config_and_context(&config.consumer(&group)?, Context::default()).map_err(failed)?;
        let mut places = TopicPartitionList::with_capacity(beginnings.len());
        for beginning in beginnings {
            let place = Offset::Offset(beginning.from);
            places.add_partition_offset(topic, beginning.partition, place).map_err(failed)?;
        }
        stream.assign(&places).map_err(failed)?;
        let lost = beginnings.iter().filter(|beginning| beginning.wanted < beginning.from);
        let gap = |lost: &Beginning| ReaderItem::Gap { partition: lost.partition, from: lost.wanted, to: lost.from };
        Ok(Self {
            stream: Some(stream),
            role,
            cluster,
            closed,
            meters: Meters::of(role),
            expected: beginnings.iter().map(|beginning| (beginning.partition, beginning.from)).collect(),
            ready: lost.map(gap).collect(),
            jumped: None,
        })
    }

    /// Takes a message in: it is ready, or first the question must be answered why others before it are missing.
    fn take(&mut self, delivery: Delivery) {
        let Position { partition, offset } = delivery.position;
        if self.expected.get(&partition).is_some_and(|expected| *expected < offset) {
            self.jumped = Some(delivery);
        } else {
            self.give(delivery);
        }
    }

    fn give(&mut self, delivery: Delivery) {
        self.expected.insert(delivery.position.partition, delivery.position.offset + 1);
        self.meters.consumed(&delivery.message);
        self.ready.push_back(ReaderItem::Delivery(delivery));
    }

    /// Retention may have dropped what was expected before the message at `position`; offsets may also just be unused.
    /// May be dropped: the message stays in `jumped`.
    async fn explain_jump(&mut self, position: Position) -> Result<(), BusError> {
        let (cluster, role) = (self.cluster.clone(), self.role);
        let asked = tokio::task::spawn_blocking(move || cluster.range(role, position.partition)).await;
        let range = asked.map_err(|error| BusError::Fatal(format!("a question to Kafka failed: {error}")))??;
        let expected = self.expected.get(&position.partition).copied().unwrap_or(position.offset);
        if range.earliest > expected {
            let to = range.earliest.min(position.offset);
            self.ready.push_back(ReaderItem::Gap { partition: position.partition, from: expected, to });
        }
        if let Some(delivery) = self.jumped.take() {
            self.give(delivery);
        }
        Ok(())
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn next(&mut self) -> Result<ReaderItem, BusError> {
        loop {
            if self.closed.is_cancelled() {
                return Err(BusError::Closed);
            }
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            if let Some(position) = self.jumped.as_ref().map(|delivery| delivery.position) {
                self.explain_jump(position).await?;
                continue;
            }
            let Some(stream) = &self.stream else { return Err(BusError::Closed) };
            let received = tokio::select! {
                () = self.closed.cancelled() => return Err(BusError::Closed),
                received = stream.recv() => received.map(|record| delivery(&record)),
            };
            match received.map_err(|error| bus_error("read from Kafka", &error)) {
                Ok(delivery) => self.take(delivery),
                Err(fatal @ BusError::Fatal(_)) => return Err(fatal),
                // librdkafka goes on by itself.
                Err(passing) => tracing::debug!(error = %passing, "reading from Kafka falters"),
            }
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        // Closing waits for librdkafka's threads, which an async task must not.
        let stream = self.stream.take();
        std::thread::spawn(move || drop(stream));
    }
}
