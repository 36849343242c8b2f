//! Reads all partitions of a topic. It joins no group and commits nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use contracts::TopicRole;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::cluster::{Cluster, ReadStart};
use super::config::KafkaConfig;
use super::context::{Context, bus_error};
use super::delivery::delivery;
use crate::metrics::TopicMetrics;
use crate::seam::{BusError, Delivery, Position, Reader, ReaderItem};

/// A reader of a [`KafkaBus`](super::KafkaBus).
pub struct KafkaReader {
    /// `None` only while it is dropped.
    stream: Option<StreamConsumer<Context>>,
    role: TopicRole,
    cluster: Arc<Cluster>,
    closed: CancellationToken,
    metrics: TopicMetrics,
    /// The next offset of each partition.
    expected: HashMap<i32, i64>,
    /// Items that [`Reader::next`] returns before it reads further.
    ready: VecDeque<ReaderItem>,
    /// The end of each partition's range; empty without ranges.
    ends: HashMap<i32, i64>,
    /// A message with a later offset than expected. A query must first find out whether retention dropped the messages between.
    after_gap: Option<Delivery>,
}

impl KafkaReader {
    /// Opens a reader that starts at these offsets.
    pub fn open(
        config: &KafkaConfig,
        role: TopicRole,
        topic: &str,
        read_starts: &[ReadStart],
        cluster: Arc<Cluster>,
        closed: CancellationToken,
    ) -> Result<Self, BusError> {
        let action = format!("read topic {topic}");
        let failed = |error| bus_error(&action, &error);
        // librdkafka requires the name of a group; nothing is stored for it.
        let mut settings = config.consumer(&format!("sightline-reader-{}", Uuid::new_v4()))?;
        let ends: HashMap<i32, i64> =
            read_starts.iter().filter_map(|start| Some((start.partition, start.end?))).collect();
        // Not without an end: a reader of new messages is at the end of a partition after each.
        settings.set("enable.partition.eof", (!ends.is_empty()).to_string());
        let stream: StreamConsumer<Context> =
            StreamConsumer::from_config_and_context(&settings, Context::default()).map_err(failed)?;
        let mut assignment = TopicPartitionList::with_capacity(read_starts.len());
        for start in read_starts {
            let offset = Offset::Offset(start.from);
            assignment.add_partition_offset(topic, start.partition, offset).map_err(failed)?;
        }
        stream.assign(&assignment).map_err(failed)?;
        let lost = read_starts.iter().filter(|start| start.wanted < start.from);
        let gap = |lost: &ReadStart| ReaderItem::Gap { partition: lost.partition, from: lost.wanted, to: lost.from };
        Ok(Self {
            stream: Some(stream),
            role,
            cluster,
            closed,
            metrics: TopicMetrics::of(role),
            expected: read_starts.iter().map(|start| (start.partition, start.from)).collect(),
            ready: lost.map(gap).collect(),
            ends,
            after_gap: None,
        })
    }

    /// At the end of a partition: reports the offsets before the end of its range that no message has.
    fn report_end(&mut self, partition: i32) {
        let (Some(next), Some(end)) = (self.expected.get_mut(&partition), self.ends.get(&partition)) else { return };
        if *next < *end {
            self.ready.push_back(ReaderItem::Gap { partition, from: *next, to: *end });
            *next = *end;
        }
    }

    /// Adds a message to the ready items, or to `after_gap`.
    fn take(&mut self, delivery: Delivery) {
        let Position { partition, offset } = delivery.position;
        if self.expected.get(&partition).is_some_and(|expected| *expected < offset) {
            self.after_gap = Some(delivery);
        } else {
            self.give(delivery);
        }
    }

    fn give(&mut self, delivery: Delivery) {
        self.expected.insert(delivery.position.partition, delivery.position.offset + 1);
        self.metrics.consumed(&delivery.message);
        self.ready.push_back(ReaderItem::Delivery(delivery));
    }

    /// Reports a gap where retention dropped messages before `position`. Offsets may also be unused. Cancel-safe: the message
    /// stays in `after_gap`.
    async fn report_gap(&mut self, position: Position) -> Result<(), BusError> {
        let (cluster, role) = (self.cluster.clone(), self.role);
        let queried = tokio::task::spawn_blocking(move || cluster.range(role, position.partition)).await;
        let range = queried.map_err(|error| BusError::Fatal(format!("a query to Kafka failed: {error}")))??;
        let expected = self.expected.get(&position.partition).copied().unwrap_or(position.offset);
        if range.earliest > expected {
            let to = range.earliest.min(position.offset);
            self.ready.push_back(ReaderItem::Gap { partition: position.partition, from: expected, to });
        }
        if let Some(delivery) = self.after_gap.take() {
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
            if let Some(position) = self.after_gap.as_ref().map(|delivery| delivery.position) {
                self.report_gap(position).await?;
                continue;
            }
            let Some(stream) = &self.stream else { return Err(BusError::Closed) };
            let received = tokio::select! {
                () = self.closed.cancelled() => return Err(BusError::Closed),
                received = stream.recv() => received.map(|record| delivery(&record)),
            };
            match received {
                Ok(delivery) => self.take(delivery),
                Err(KafkaError::PartitionEOF(partition)) => self.report_end(partition),
                Err(error) => match bus_error("read from Kafka", &error) {
                    fatal @ BusError::Fatal(_) => return Err(fatal),
                    // librdkafka retries by itself.
                    transient => tracing::debug!(error = %transient, "a transient error while reading from Kafka"),
                },
            }
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        // Closing waits for librdkafka's threads, which an async task must not do.
        let stream = self.stream.take();
        std::thread::spawn(move || drop(stream));
    }
}
