//! The part of a log on Kafka that a restore needs: every message that a consumer has not finished, and the alerts and the outcomes of
//! uploads that Kafka keeps.
//!
//! In the backup it is an embedded log. A restore sends its messages to the empty topics of another cluster, where
//! every consumer begins at the first one. Positions are therefore not stored: what is before them is not copied.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bus::embedded::{BusSync, Options};
use bus::{Bus, BusError, EmbeddedBus, KafkaArgs, KafkaBus, Producer, Range, RangeReader};
use contracts::{Message, TopicRole, Topics, groups};
use futures::future::try_join_all;
use tokio::task::block_in_place;

use crate::dlq;

/// The folder in a backup.
pub const FOLDER: &str = "kafka";
/// Time limit for the next message of a topic.
const NEXT_TIMEOUT: Duration = Duration::from_secs(60);
/// Messages that wait for their acknowledgement at the same time.
const IN_FLIGHT: usize = 256;
/// Nothing in a backup expires.
const KEPT: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A log on Kafka with its topics.
pub struct KafkaLog {
    bus: KafkaBus,
    topics: Topics,
}

impl KafkaLog {
    /// Connects to the cluster.
    pub async fn connect(kafka: &KafkaArgs, topics: Topics) -> anyhow::Result<Self> {
        Ok(Self { bus: KafkaBus::connect(kafka.config()?, &topics).await?, topics })
    }

    /// Copies into a folder that does not exist; returns the number of messages.
    pub async fn export(&self, workers: &[String], folder: &Path) -> anyhow::Result<u64> {
        // All positions before any message, so that what they count as finished has had its effects in every later copy.
        let mut plan = Vec::new();
        for role in self.topics.roles() {
            plan.push((role, self.needed(role, workers).await?));
        }
        let copy = open(folder, &self.topics)?;
        let mut messages = 0;
        for (role, ranges) in plan {
            messages += transfer(&self.bus, &ranges, role, &*copy.producer()).await?;
        }
        copy.close().await?;
        Ok(messages)
    }

    /// The messages that a restore needs of a topic.
    async fn needed(&self, role: TopicRole, workers: &[String]) -> anyhow::Result<Vec<Range>> {
        let groups = match role {
            TopicRole::Frames => workers.to_vec(),
            TopicRole::Results => vec![groups::INDEXER.to_owned()],
            TopicRole::FacesUploads => vec![groups::FACES.to_owned()],
            TopicRole::MediaTasks => vec![groups::AUDIO_WORKER.to_owned()],
            TopicRole::FramesDlq | TopicRole::ResultsDlq | TopicRole::FacesUploadsDlq | TopicRole::MediaTasksDlq => {
                vec![dlq::group(role)]
            }
            // Other programs read the outcomes of uploads, and nobody knows how far.
            TopicRole::Alerts | TopicRole::FacesVerified => return Ok(self.bus.ranges(role).await?),
            // They are for requests that wait for seconds, and for whoever looks now: the database knows how far a book is.
            TopicRole::Replies | TopicRole::MediaProgress => return Ok(Vec::new()),
        };
        let mut needed: Vec<Range> = Vec::new();
        for group in groups {
            let of_group = self.bus.unconsumed(role, &group).await?;
            if needed.is_empty() {
                needed = of_group;
                continue;
            }
            for (range, other) in needed.iter_mut().zip(of_group) {
                (range.earliest, range.end) = (range.earliest.min(other.earliest), range.end.max(other.end));
            }
        }
        Ok(needed)
    }

    /// Fails if a topic has messages.
    pub async fn check_empty(&self) -> anyhow::Result<()> {
        for role in self.topics.roles() {
            let messages: i64 = self.bus.ranges(role).await?.iter().map(|range| range.end - range.earliest).sum();
            ensure!(
                messages == 0,
                "topic {} of {} has {messages} messages; a backup is restored into empty topics only, so create new ones \
                 with `sightline topics apply`",
                self.bus.topic(role),
                self.bus.describe()
            );
        }
        Ok(())
    }

    /// Sends the messages of a copy; returns their number.
    pub async fn import(&self, folder: &Path) -> anyhow::Result<u64> {
        let copy = open(folder, &self.topics)?;
        let mut messages = 0;
        for role in self.topics.roles() {
            let ranges = copy.ranges(role).await?;
            messages += transfer(&copy, &ranges, role, &*self.bus.producer()).await?;
        }
        copy.close().await?;
        Ok(messages)
    }

    /// Ends the connection.
    pub async fn close(&self) -> anyhow::Result<()> {
        Ok(self.bus.close().await?)
    }
}

/// The embedded log in a backup. Its topics have the names of their roles and one partition, so that a cluster with other topics can
/// be restored from it. Messages of a key keep their order.
fn open(folder: &Path, topics: &Topics) -> anyhow::Result<EmbeddedBus> {
    let kept = topics.map(|topic| {
        (topic.name, topic.partitions) = (topic.role.to_string(), 1);
        (topic.retention, topic.retention_bytes) = (KEPT, None);
    });
    let options = Options { sync: BusSync::Process, disk_limit: 1 << 60, ..Options::default() };
    Ok(block_in_place(|| EmbeddedBus::open(folder, &kept, options))?)
}

/// Sends the messages of these ranges to the same topic of another log, in their order; returns their number.
async fn transfer(from: &dyn Bus, ranges: &[Range], role: TopicRole, to: &dyn Producer) -> anyhow::Result<u64> {
    let mut reader = RangeReader::open(from, role, ranges).await?;
    let (mut acknowledged, mut messages) = (Vec::new(), 0);
    loop {
        let next = tokio::time::timeout(NEXT_TIMEOUT, reader.next()).await;
        let next = next.with_context(|| format!("{role}: no message arrived within {NEXT_TIMEOUT:?}"))??;
        let Some(delivery) = next else { break };
        send(to, role, delivery.message, &mut acknowledged).await?;
        messages += 1;
    }
    try_join_all(acknowledged).await?;
    Ok(messages)
}

/// Sends a message. Waits for those before it when too many are not acknowledged.
async fn send(
    producer: &dyn Producer,
    role: TopicRole,
    message: Message,
    acknowledged: &mut Vec<bus::Acknowledged>,
) -> anyhow::Result<()> {
    loop {
        match producer.send(role, message.clone()) {
            Ok(sent) => {
                acknowledged.push(sent);
                break;
            }
            Err(BusError::QueueFull) if !acknowledged.is_empty() => {
                try_join_all(acknowledged.drain(..)).await?;
            }
            Err(error) => bail!(error),
        }
    }
    if acknowledged.len() >= IN_FLIGHT {
        try_join_all(acknowledged.drain(..)).await?;
    }
    Ok(())
}
