//! The log on Apache Kafka.
//!
//! There is one idempotent producer with `acks=all` (`producer`). Each group member polls on its own thread (`member`), with
//! cooperative-sticky assignment, and commits only the lowest unfinished offset. Readers have no group (`reader`). [`admin`]
//! makes the topics agree with `topics.yaml`. Brokers must be 2.8 or newer, because older ones have no topic ids.
//!
//! librdkafka retries by itself: errors that it retries are logged, and final errors become a [`BusError`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use contracts::{TopicRole, Topics};
use tokio_util::sync::CancellationToken;

use crate::seam::{Bus, BusError, Consumer, ConsumerOptions, Producer, Range, Reader, Start};

pub mod admin;
mod cluster;
mod config;
mod consumer;
mod context;
mod delivery;
mod early_end;
mod group_probe;
mod member;
mod member_queue;
mod native;
mod producer;
mod reader;

use cluster::{Cluster, ReadStart};
pub use config::KafkaConfig;
use consumer::{KafkaConsumer, Membership};
use group_probe::GroupProbe;
use producer::KafkaProducer;
use reader::KafkaReader;

type Probes = HashMap<(TopicRole, String), Arc<GroupProbe>>;

/// The log on a Kafka cluster.
pub struct KafkaBus {
    config: KafkaConfig,
    topics: Topics,
    cluster: Arc<Cluster>,
    producer: Arc<KafkaProducer>,
    members: Mutex<Vec<Membership>>,
    probes: Mutex<Probes>,
    closed: CancellationToken,
}

impl KafkaBus {
    /// Connects and checks that the topics exist.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when no broker answers within [`KafkaConfig::timeout`], [`BusError::Fatal`] when a setting is
    /// wrong, access is refused or a topic is missing. The message says what to do.
    pub async fn connect(config: KafkaConfig, topics: &Topics) -> Result<Self, BusError> {
        crate::log_defaulted(topics);
        let cluster = Arc::new(Cluster::new(&config, topics)?);
        blocking({
            let cluster = cluster.clone();
            move || cluster.check()
        })
        .await?;
        Ok(Self {
            producer: Arc::new(KafkaProducer::start(&config, topics)?),
            topics: topics.clone(),
            cluster,
            config,
            members: Mutex::default(),
            probes: Mutex::default(),
            closed: CancellationToken::new(),
        })
    }

    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Cluster) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        let cluster = self.cluster.clone();
        blocking(move || query(&cluster)).await
    }

    fn members(&self) -> MutexGuard<'_, Vec<Membership>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probe(&self, role: TopicRole, group: &str) -> Result<Arc<GroupProbe>, BusError> {
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (role, group.to_owned());
        if let Some(probe) = probes.get(&key) {
            return Ok(probe.clone());
        }
        let probe = Arc::new(GroupProbe::new(&self.config, role, self.topic(role), group)?);
        probes.insert(key, probe.clone());
        Ok(probe)
    }
}

/// Runs blocking work on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BusError> + Send + 'static,
) -> Result<T, BusError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(BusError::Fatal(format!("a call to Kafka failed: {error}"))),
    }
}

#[async_trait]
impl Bus for KafkaBus {
    fn describe(&self) -> String {
        format!("kafka at {}", self.config.brokers)
    }

    fn topic(&self, role: TopicRole) -> &str {
        &self.topics.get(role).name
    }

    fn producer(&self) -> Arc<dyn Producer> {
        self.producer.clone()
    }

    async fn consumer(
        &self,
        role: TopicRole,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Box<dyn Consumer>, BusError> {
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        let leaving: Vec<_> = self.members().iter().filter_map(|membership| membership.leaving(role, group)).collect();
        for left in leaving {
            // Joining before the old member has left would move the partitions twice. After the timeout it joins anyway.
            drop(consumer::until_left(&left, Duration::ZERO).await);
        }
        let (consumer, membership) = KafkaConsumer::join(&self.config, role, self.topic(role), group, options)?;
        let mut members = self.members();
        members.retain(|membership| !membership.is_over());
        members.push(membership);
        Ok(Box::new(consumer))
    }

    async fn reader(&self, role: TopicRole, start: Start) -> Result<Box<dyn Reader>, BusError> {
        let read_starts = self.query(move |cluster| cluster.read_starts(role, start)).await?;
        let (cluster, closed) = (self.cluster.clone(), self.closed.clone());
        let reader = KafkaReader::open(&self.config, role, self.topic(role), &read_starts, cluster, closed)?;
        Ok(Box::new(reader))
    }

    async fn reader_of(&self, role: TopicRole, ranges: &[Range]) -> Result<Box<dyn Reader>, BusError> {
        let start = |&Range { partition, earliest, end }: &Range| ReadStart {
            partition,
            wanted: earliest,
            from: earliest,
            end: Some(end),
        };
        let starts: Vec<ReadStart> = ranges.iter().map(start).collect();
        let (cluster, closed) = (self.cluster.clone(), self.closed.clone());
        let reader = KafkaReader::open(&self.config, role, self.topic(role), &starts, cluster, closed)?;
        Ok(Box::new(reader))
    }

    async fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError> {
        self.query(move |cluster| cluster.ranges(role)).await
    }

    async fn topic_id(&self, role: TopicRole) -> Result<String, BusError> {
        let topic = self.query(move |cluster| cluster.topic(role)).await?;
        match topic.id {
            Some(id) => Ok(id.simple().to_string()),
            None => Err(BusError::Fatal("the Kafka brokers have no topic ids; use 2.8 or newer".to_owned())),
        }
    }

    async fn unconsumed(&self, role: TopicRole, group: &str) -> Result<Vec<Range>, BusError> {
        let probe = self.probe(role, group)?;
        self.query(move |cluster| probe.unconsumed(cluster)).await
    }

    async fn oldest_unconsumed(&self, role: TopicRole, group: &str) -> Result<Option<SystemTime>, BusError> {
        let probe = self.probe(role, group)?;
        self.query(move |cluster| probe.oldest_unconsumed(cluster)).await
    }

    async fn check(&self) -> Result<(), BusError> {
        self.query(Cluster::check).await
    }

    async fn close(&self) -> Result<(), BusError> {
        if self.closed.is_cancelled() {
            return Ok(());
        }
        self.closed.cancel();
        let members = std::mem::take(&mut *self.members());
        let left = futures::future::join_all(members.into_iter().map(Membership::leave)).await;
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let producer = self.producer.clone();
        let flushed = blocking(move || producer.close()).await;
        left.into_iter().collect::<Result<(), BusError>>().and(flushed)
    }
}

impl Drop for KafkaBus {
    fn drop(&mut self) {
        self.closed.cancel();
        self.members().iter().for_each(Membership::end);
    }
}
