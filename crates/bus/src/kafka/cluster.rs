//! Questions to the cluster that need no group: which topics there are, what their partitions hold, where a reader begins.
//! The calls block, up to the configured time; [`KafkaBus`](super::KafkaBus) makes them on threads made for that.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use contracts::{TopicRole, Topics};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use super::config::KafkaConfig;
use super::context::{Context, bus_error};
use super::native::{TopicDescription, describe_topics};
use crate::seam::{BusError, Range, Start};

/// A connection for questions.
pub struct Cluster {
    client: BaseConsumer<Context>,
    config: KafkaConfig,
    topics: Topics,
}

/// Where a reader begins in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// The partition.
    pub partition: i32,
    /// The offset that was asked for; below `from` where retention dropped it.
    pub wanted: i64,
    /// The first offset to read.
    pub from: i64,
}

impl Cluster {
    /// Makes the connection; it is used, and found wanting, only with the first question.
    pub fn new(config: &KafkaConfig, topics: &Topics) -> Result<Self, BusError> {
        let client = BaseConsumer::from_config_and_context(&config.query()?, Context::default())
            .map_err(|error| bus_error("make a Kafka client", &error))?;
        Ok(Self { client, config: config.clone(), topics: topics.clone() })
    }

    /// Those of our topics that are there.
    pub fn describe(&self) -> Result<Vec<TopicDescription>, BusError> {
        let names: Vec<&str> = self.topics.iter().map(|topic| topic.name.as_str()).collect();
        self.ask("ask for the topics", |client| describe_topics(client.client(), &names, self.config.timeout))
    }

    /// Succeeds when every topic is there and `alerts` has the one partition that its order rests on.
    pub fn check(&self) -> Result<(), BusError> {
        let there = self.describe()?;
        let find = |name: &str| there.iter().find(|found| found.name == name);
        let names = self.topics.iter().map(|topic| topic.name.as_str());
        let missing: Vec<&str> = names.filter(|name| find(name).is_none()).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(BusError::Fatal(format!(
                "Kafka at {} has no topic {missing}; run `sightline topics apply`",
                self.config.brokers
            )));
        }
        let alerts = &self.topics.get(TopicRole::Alerts).name;
        match find(alerts) {
            Some(found) if found.partitions != 1 => Err(BusError::Fatal(format!(
                "topic {alerts} has {} partitions and must have one, for its order is total; create it anew or name another \
                 one in topics.yaml",
                found.partitions
            ))),
            _ => Ok(()),
        }
    }

    /// How many brokers there are.
    pub fn brokers(&self) -> Result<usize, BusError> {
        // Asking about one topic gives all brokers and spares the list of all topics.
        let topic = self.topics.get(TopicRole::Frames).name.as_str();
        let doing = "ask for the brokers";
        self.ask(doing, |client| {
            client.fetch_metadata(Some(topic), self.config.timeout).map(|found| found.brokers().len())
        })
    }

    /// What the cluster knows of a topic.
    pub fn topic(&self, role: TopicRole) -> Result<TopicDescription, BusError> {
        let name = self.topics.get(role).name.as_str();
        let doing = format!("ask for topic {name}");
        let found = self.ask(&doing, |client| describe_topics(client.client(), &[name], self.config.timeout))?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| BusError::Fatal(format!("there is no topic {name}; run `sightline topics apply`")))
    }

    /// What each partition of a topic holds.
    pub fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError> {
        (0..self.topic(role)?.partitions).map(|partition| self.range(role, partition)).collect()
    }

    /// What a partition holds.
    pub fn range(&self, role: TopicRole, partition: i32) -> Result<Range, BusError> {
        let name = self.topics.get(role).name.as_str();
        let doing = format!("ask what partition {partition} of topic {name} holds");
        let (earliest, end) =
            self.ask(&doing, |client| client.fetch_watermarks(name, partition, self.config.timeout))?;
        Ok(Range { partition, earliest, end })
    }

    /// Where a reader that starts at `start` begins. The end is that of this moment, so nothing sent later is missed.
    pub fn beginnings(&self, role: TopicRole, start: Start) -> Result<Vec<Beginning>, BusError> {
        let ranges = self.ranges(role)?;
        let by_time = match start {
            Start::Time(time) => Some(self.offsets_at(role, &ranges, time)?),
            _ => None,
        };
        let begin = |(index, range): (usize, &Range)| {
            let wanted = match start {
                Start::Earliest => range.earliest,
                Start::Latest => range.end,
                Start::Offset(offset) => offset,
                Start::Tail(count) => {
                    range.end.saturating_sub(i64::try_from(count).unwrap_or(i64::MAX)).max(range.earliest)
                }
                Start::Time(_) => by_time.as_ref().and_then(|offsets| offsets[index]).unwrap_or(range.end),
            };
            let from = wanted.clamp(range.earliest, range.end.max(range.earliest));
            Beginning { partition: range.partition, wanted, from }
        };
        Ok(ranges.iter().enumerate().map(begin).collect())
    }

    /// For each of these partitions, the first offset of this time or later. Kafka counts milliseconds: those of the same
    /// one come too.
    fn offsets_at(&self, role: TopicRole, ranges: &[Range], time: SystemTime) -> Result<Vec<Option<i64>>, BusError> {
        let name = self.topics.get(role).name.as_str();
        let millis = time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
        let doing = format!("ask for a time in topic {name}");
        let found = self.ask(&doing, |client| {
            let mut times = TopicPartitionList::with_capacity(ranges.len());
            for range in ranges {
                times.add_partition_offset(name, range.partition, Offset::Offset(millis))?;
            }
            client.offsets_for_times(times, self.config.timeout)
        })?;
        let offset = |range: &Range| match found.find_partition(name, range.partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        };
        Ok(ranges.iter().map(offset).collect())
    }

    /// Asks one question, and says why the cluster does not answer.
    fn ask<T>(
        &self,
        doing: &str,
        question: impl FnOnce(&BaseConsumer<Context>) -> Result<T, KafkaError>,
    ) -> Result<T, BusError> {
        let answer = question(&self.client);
        // Log lines and errors wait in a queue until they are polled for.
        for _ in 0..32 {
            drop(self.client.poll(Duration::ZERO));
        }
        answer.map_err(|error| match bus_error(doing, &error) {
            BusError::Unavailable(_) => self.unreachable(doing, &error),
            refused => refused,
        })
    }

    fn unreachable(&self, doing: &str, error: &KafkaError) -> BusError {
        let deadline = Instant::now() + Duration::from_millis(100);
        while self.client.context().last_error().is_none() && Instant::now() < deadline {
            drop(self.client.poll(Duration::from_millis(10)));
        }
        let brokers = &self.config.brokers;
        let reason = self.client.context().last_error().unwrap_or_else(|| error.to_string());
        BusError::Unavailable(format!(
            "{doing}: no answer from Kafka at {brokers} ({reason}); check SIGHTLINE_KAFKA_BROKERS and that the brokers are up"
        ))
    }
}
