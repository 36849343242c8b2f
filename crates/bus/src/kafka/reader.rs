//! Reads all partitions of a topic. It joins no group and commits nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

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
use super::early_end::EarlyEnd;
use crate::metrics::TopicMetrics;
use crate::seam::{BusError, Delivery, Position, Range, Reader, ReaderItem};

/// How long a new leader may take to reach the end that a partition had before, and the pause between two looks at it. Shorter than the
/// limit of a backup for the next message, so that its error names the cause.
const LEADER_LIMIT: Duration = Duration::from_secs(30);
const LEADER_PAUSE: Duration = Duration::from_millis(500);

/// A reader of a [`KafkaBus`](super::KafkaBus).
pub struct KafkaReader {
    /// `None` only while it is dropped.
    stream: Option<StreamConsumer<Context>>,
    role: TopicRole,
    topic: String,
    cluster: Arc<Cluster>,
    closed: CancellationToken,
    metrics: TopicMetrics,
    /// The next offset of each partition.
    expected: HashMap<i32, i64>,
    /// Items that [`Reader::next`] returns before it reads further.
    ready: VecDeque<ReaderItem>,
    /// The end of each partition's range; empty without ranges.
    ends: HashMap<i32, i64>,
    /// Partitions at which Kafka said "end" before the end of their range.
    early_ends: HashMap<i32, EarlyEnd>,
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
            topic: topic.to_owned(),
            cluster,
            closed,
            metrics: TopicMetrics::of(role),
            expected: read_starts.iter().map(|start| (start.partition, start.from)).collect(),
            ready: lost.map(gap).collect(),
            ends,
            early_ends: HashMap::new(),
            after_gap: None,
        })
    }

    /// At the end of a partition. Before the end of its range, either no message has the offsets between, or a new leader does not
    /// know yet how far the messages go. So the first such end is only noted; [`KafkaReader::check_early_end`] decides.
    fn note_end(&mut self, partition: i32) {
        let (Some(next), Some(end)) = (self.expected.get_mut(&partition), self.ends.get(&partition)) else { return };
        if *next >= *end {
            return;
        }
        if self.early_ends.entry(partition).or_default().ended_at(*next) {
            self.early_ends.remove(&partition);
            self.ready.push_back(ReaderItem::Gap { partition, from: *next, to: *end });
            *next = *end;
        }
    }

    /// The next partition whose early end is to be checked.
    fn unchecked_end(&self) -> Option<i32> {
        self.early_ends.iter().find(|(_, early)| early.must_be_checked()).map(|(partition, _)| *partition)
    }

    /// Asks the leader how far the partition goes, and reads on from the same offset. Cancel-safe: it changes the state at the end.
    async fn check_early_end(&mut self, partition: i32) -> Result<(), BusError> {
        let range = self.range(partition).await?;
        let end = self.ends.get(&partition).copied().unwrap_or(range.end);
        let is_behind = range.end < end;
        if is_behind {
            tokio::time::sleep(LEADER_PAUSE).await;
        }
        let (Some(early), Some(next)) = (self.early_ends.get_mut(&partition), self.expected.get(&partition)) else {
            return Ok(());
        };
        if is_behind && early.since().elapsed() > LEADER_LIMIT {
            return Err(BusError::Fatal(format!(
                "partition {partition} of topic {} ends at offset {}, and ended at {end} before: its new leader lost messages",
                self.topic, range.end
            )));
        }
        early.checked(!is_behind);
        if let Some(stream) = &self.stream {
            // librdkafka reports an end once for each offset. Without a time limit, it only begins to seek, and does not block.
            let sought = stream.seek(&self.topic, partition, Offset::Offset(*next), Duration::ZERO);
            sought.map_err(|error| bus_error("read from Kafka again", &error))?;
        }
        Ok(())
    }

    async fn range(&self, partition: i32) -> Result<Range, BusError> {
        let (cluster, role) = (self.cluster.clone(), self.role);
        let queried = tokio::task::spawn_blocking(move || cluster.range(role, partition)).await;
        queried.map_err(|error| BusError::Fatal(format!("a query to Kafka failed: {error}")))?
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
        let range = self.range(position.partition).await?;
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
            if let Some(partition) = self.unchecked_end() {
                self.check_early_end(partition).await?;
                continue;
            }
            let Some(stream) = &self.stream else { return Err(BusError::Closed) };
            let received = tokio::select! {
                () = self.closed.cancelled() => return Err(BusError::Closed),
                received = stream.recv() => received.map(|record| delivery(&record)),
            };
            match received {
                Ok(delivery) => self.take(delivery),
                Err(KafkaError::PartitionEOF(partition)) => self.note_end(partition),
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
