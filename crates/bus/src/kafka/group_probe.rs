//! Measures the lag of a group: its committed offsets, and the times of the messages there. It neither joins the group nor commits.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use contracts::TopicRole;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::cluster::Cluster;
use super::config::KafkaConfig;
use super::context::{Context, bus_error};
use super::delivery::timestamp;
use crate::seam::{BusError, Range};

/// Queries how far one group has consumed one topic. It caches times, so that frequent queries read few messages.
pub struct GroupProbe {
    client: BaseConsumer<Context>,
    role: TopicRole,
    topic: String,
    timeout: Duration,
    /// Locked while messages are read, so that one query reads at a time. `unconsumed` does not need it.
    seen: Mutex<Seen>,
}

/// By partition: an offset, and the time of the first message from there on; `None` where only unused offsets follow.
type Seen = HashMap<i32, (i64, Option<SystemTime>)>;

impl GroupProbe {
    /// A probe for a group.
    pub fn new(config: &KafkaConfig, role: TopicRole, topic: &str, group: &str) -> Result<Self, BusError> {
        let mut settings = config.consumer(group)?;
        // Only one message of each partition is needed.
        settings
            .set("queued.min.messages", "1")
            .set("queued.max.messages.kbytes", "1")
            .set("fetch.message.max.bytes", "1024")
            .set("enable.partition.eof", "true");
        let client = BaseConsumer::from_config_and_context(&settings, Context::default())
            .map_err(|error| bus_error(&format!("query group {group}"), &error))?;
        Ok(Self { client, role, topic: topic.to_owned(), timeout: config.timeout, seen: Mutex::default() })
    }

    /// The time of the oldest message that the group has not committed. Blocks.
    pub fn oldest_unconsumed(&self, cluster: &Cluster) -> Result<Option<SystemTime>, BusError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // librdkafka queues log lines and errors until they are polled.
        for _ in 0..8 {
            drop(self.client.poll(Duration::ZERO));
        }
        let unconsumed = self.unconsumed(cluster)?.into_iter().filter(|range| range.earliest < range.end);
        let next: HashMap<i32, i64> = unconsumed.map(|range| (range.partition, range.earliest)).collect();
        seen.retain(|partition, (offset, _)| next.get(partition) == Some(offset));
        let unseen: HashMap<i32, i64> =
            next.into_iter().filter(|(partition, _)| !seen.contains_key(partition)).collect();
        if !unseen.is_empty() {
            let read = self.read_first(unseen, &mut seen);
            // Otherwise librdkafka would continue to fetch.
            let left = self.client.unassign().map_err(|error| self.failed(&error));
            read.and(left)?;
        }
        Ok(seen.values().filter_map(|(_, time)| *time).min())
    }

    /// The range of each partition that the group has not committed. Blocks.
    pub fn unconsumed(&self, cluster: &Cluster) -> Result<Vec<Range>, BusError> {
        let partitions = cluster.topic(self.role)?.partitions;
        // Before the ranges: a commit after that is not seen, and one before it is never beyond the end of its range.
        let committed = self.committed(partitions)?;
        let range = |partition| Ok(cluster.range(self.role, partition)?.unconsumed(committed.get(&partition).copied()));
        (0..partitions).map(range).collect()
    }

    /// The group's committed offsets, by partition.
    fn committed(&self, partition_count: i32) -> Result<HashMap<i32, i64>, BusError> {
        let mut partitions = TopicPartitionList::new();
        for partition in 0..partition_count {
            partitions.add_partition(&self.topic, partition);
        }
        let committed = self.client.committed_offsets(partitions, self.timeout).map_err(|error| self.failed(&error))?;
        let offsets = committed.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        });
        Ok(offsets.collect())
    }

    /// Reads the first message at each of these offsets.
    fn read_first(&self, mut unseen: HashMap<i32, i64>, seen: &mut Seen) -> Result<(), BusError> {
        let mut offsets = TopicPartitionList::with_capacity(unseen.len());
        for (partition, offset) in &unseen {
            offsets
                .add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))
                .map_err(|error| self.failed(&error))?;
        }
        self.client.assign(&offsets).map_err(|error| self.failed(&error))?;
        let deadline = Instant::now() + self.timeout;
        while !unseen.is_empty() {
            if Instant::now() > deadline {
                let topic = &self.topic;
                return Err(BusError::Unavailable(format!(
                    "topic {topic}: its oldest messages could not be read in time"
                )));
            }
            let (partition, time) = match self.client.poll(Duration::from_millis(50)) {
                Some(Ok(record)) => (record.partition(), Some(timestamp(&record))),
                Some(Err(KafkaError::PartitionEOF(partition))) => (partition, None),
                Some(Err(error)) => match self.failed(&error) {
                    fatal @ BusError::Fatal(_) => return Err(fatal),
                    _ => continue,
                },
                None => continue,
            };
            if let Some(offset) = unseen.remove(&partition) {
                seen.insert(partition, (offset, time));
            }
        }
        Ok(())
    }

    fn failed(&self, error: &KafkaError) -> BusError {
        bus_error(&format!("query how far topic {} was consumed", self.topic), error)
    }
}
