//! Queries to the cluster that need no group: its topics, the offsets of their partitions, the start of a reader.
//! Calls block, up to the configured timeout; [`KafkaBus`](super::KafkaBus) runs them on blocking threads.

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

/// A connection for queries.
pub struct Cluster {
    client: BaseConsumer<Context>,
    config: KafkaConfig,
    topics: Topics,
}

/// Where a reader starts in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadStart {
    /// The partition.
    pub partition: i32,
    /// The requested offset; below `from` where retention dropped it.
    pub wanted: i64,
    /// The first offset to read.
    pub from: i64,
    /// The end of the range to read, if there is one.
    pub end: Option<i64>,
}

impl Cluster {
    /// Creates the client. It connects with the first query.
    pub fn new(config: &KafkaConfig, topics: &Topics) -> Result<Self, BusError> {
        let client = BaseConsumer::from_config_and_context(&config.query()?, Context::default())
            .map_err(|error| bus_error("create a Kafka client", &error))?;
        Ok(Self { client, config: config.clone(), topics: topics.clone() })
    }

    /// The configured topics that exist.
    pub fn describe(&self) -> Result<Vec<TopicDescription>, BusError> {
        let names: Vec<&str> = self.topics.iter().map(|topic| topic.name.as_str()).collect();
        self.query("list the topics", |client| describe_topics(client.client(), &names, self.config.timeout))
    }

    /// Succeeds when every topic exists and `alerts` has one partition, which is required for its total order.
    pub fn check(&self) -> Result<(), BusError> {
        let found = self.describe()?;
        let find = |name: &str| found.iter().find(|topic| topic.name == name);
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

    /// The number of brokers.
    pub fn brokers(&self) -> Result<usize, BusError> {
        // The metadata of one topic lists all brokers, without the list of all topics.
        let topic = self.topics.get(TopicRole::Frames).name.as_str();
        let action = "list the brokers";
        self.query(action, |client| {
            client.fetch_metadata(Some(topic), self.config.timeout).map(|found| found.brokers().len())
        })
    }

    /// Describes a topic.
    pub fn topic(&self, role: TopicRole) -> Result<TopicDescription, BusError> {
        let name = self.topics.get(role).name.as_str();
        let action = format!("describe topic {name}");
        let found = self.query(&action, |client| describe_topics(client.client(), &[name], self.config.timeout))?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| BusError::Fatal(format!("there is no topic {name}; run `sightline topics apply`")))
    }

    /// The range of offsets of each partition of a topic.
    pub fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError> {
        (0..self.topic(role)?.partitions).map(|partition| self.range(role, partition)).collect()
    }

    /// The range of offsets of a partition.
    pub fn range(&self, role: TopicRole, partition: i32) -> Result<Range, BusError> {
        let name = self.topics.get(role).name.as_str();
        let action = format!("query the offsets of partition {partition} of topic {name}");
        let (earliest, end) =
            self.query(&action, |client| client.fetch_watermarks(name, partition, self.config.timeout))?;
        Ok(Range { partition, earliest, end })
    }

    /// The start offset of a reader in each partition. Ends are those at the time of the call, so later messages are not missed.
    pub fn read_starts(&self, role: TopicRole, start: Start) -> Result<Vec<ReadStart>, BusError> {
        let ranges = self.ranges(role)?;
        let by_time = match start {
            Start::Time(time) => Some(self.offsets_at(role, &ranges, time)?),
            _ => None,
        };
        let start_of = |(index, range): (usize, &Range)| {
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
            ReadStart { partition: range.partition, wanted, from, end: None }
        };
        Ok(ranges.iter().enumerate().map(start_of).collect())
    }

    /// For each of these partitions, the first offset of this time or later. Kafka stores times in milliseconds, so earlier messages of
    /// the same millisecond are included.
    fn offsets_at(&self, role: TopicRole, ranges: &[Range], time: SystemTime) -> Result<Vec<Option<i64>>, BusError> {
        let name = self.topics.get(role).name.as_str();
        let millis = time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
        let action = format!("look up a time in topic {name}");
        let found = self.query(&action, |client| {
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

    /// Runs one query. Its error says why the cluster does not respond.
    fn query<T>(
        &self,
        action: &str,
        query: impl FnOnce(&BaseConsumer<Context>) -> Result<T, KafkaError>,
    ) -> Result<T, BusError> {
        let answer = query(&self.client);
        // librdkafka queues log lines and errors until they are polled.
        for _ in 0..32 {
            drop(self.client.poll(Duration::ZERO));
        }
        answer.map_err(|error| match bus_error(action, &error) {
            BusError::Unavailable(_) => self.unreachable(action, &error),
            refused => refused,
        })
    }

    fn unreachable(&self, action: &str, error: &KafkaError) -> BusError {
        let deadline = Instant::now() + Duration::from_millis(100);
        while self.client.context().last_error().is_none() && Instant::now() < deadline {
            drop(self.client.poll(Duration::from_millis(10)));
        }
        let brokers = &self.config.brokers;
        let reason = self.client.context().last_error().unwrap_or_else(|| error.to_string());
        BusError::Unavailable(format!(
            "{action}: no answer from Kafka at {brokers} ({reason}); check SIGHTLINE_KAFKA_BROKERS and that the brokers are up"
        ))
    }
}
