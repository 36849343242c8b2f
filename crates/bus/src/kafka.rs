//! The log on Apache Kafka.
//!
//! One idempotent producer with `acks=all` (`producer`); each member of a group polls on a thread of its own (`member`),
//! with cooperative-sticky assignment and commits of the lowest finished offset only; readers stand alone (`reader`);
//! [`admin`] makes the topics agree with `topics.yaml`. Needs brokers of 2.8 or newer, which give topics an id.
//!
//! Retries are librdkafka's business: what it will try again is logged, what it gives up on comes back as a [`BusError`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use contracts::{TopicRole, Topics};
use tokio_util::sync::CancellationToken;

use crate::seam::{Bus, BusError, Consumer, ConsumerOptions, Producer, Progress, Range, Reader, Start};

pub mod admin;
mod cluster;
mod config;
mod consumer;
mod context;
mod delivery;
mod desk;
mod member;
mod native;
mod probe;
mod producer;
mod reader;

use cluster::Cluster;
pub use config::KafkaConfig;
use consumer::{KafkaConsumer, Membership};
use probe::Probe;
use producer::KafkaProducer;
use reader::KafkaReader;

type Probes = HashMap<(TopicRole, String), Arc<Probe>>;

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
    /// Connects, and looks whether the topics are there.
    ///
    /// # Errors
    /// [`BusError::Unavailable`] when no broker answers within [`KafkaConfig::timeout`], [`BusError::Fatal`] when a setting is
    /// wrong, access is refused or a topic is missing. The message says what to do.
    pub async fn connect(config: KafkaConfig, topics: &Topics) -> Result<Self, BusError> {
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

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Cluster) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, BusError> {
        if self.closed.is_cancelled() {
            return Err(BusError::Closed);
        }
        let cluster = self.cluster.clone();
        blocking(move || question(&cluster)).await
    }

    fn members(&self) -> MutexGuard<'_, Vec<Membership>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn probe(&self, role: TopicRole, group: &str) -> Result<Arc<Probe>, BusError> {
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (role, group.to_owned());
        if let Some(probe) = probes.get(&key) {
            return Ok(probe.clone());
        }
        let probe = Arc::new(Probe::new(&self.config, role, self.topic(role), group)?);
        probes.insert(key, probe.clone());
        Ok(probe)
    }
}

/// Runs what blocks where it may.
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
            // Joining before it has left would move the partitions twice. Where that takes too long, they are.
            drop(consumer::until_left(&left, Duration::ZERO).await);
        }
        let (consumer, membership) = KafkaConsumer::join(&self.config, role, self.topic(role), group, options)?;
        let mut members = self.members();
        members.retain(|membership| !membership.is_over());
        members.push(membership);
        Ok(Box::new(consumer))
    }

    async fn reader(&self, role: TopicRole, start: Start) -> Result<Box<dyn Reader>, BusError> {
        let beginnings = self.ask(move |cluster| cluster.beginnings(role, start)).await?;
        let (cluster, closed) = (self.cluster.clone(), self.closed.clone());
        let reader = KafkaReader::open(&self.config, role, self.topic(role), &beginnings, cluster, closed)?;
        Ok(Box::new(reader))
    }

    async fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError> {
        self.ask(move |cluster| cluster.ranges(role)).await
    }

    async fn incarnation(&self, role: TopicRole) -> Result<String, BusError> {
        let topic = self.ask(move |cluster| cluster.topic(role)).await?;
        match topic.id {
            Some(id) => Ok(id.simple().to_string()),
            None => Err(BusError::Fatal("the Kafka brokers give topics no id; use 2.8 or newer".to_owned())),
        }
    }

    async fn progress(&self, role: TopicRole, group: &str) -> Result<Progress, BusError> {
        let probe = self.probe(role, group)?;
        self.ask(move |cluster| probe.progress(cluster)).await
    }

    async fn oldest_unconsumed(&self, role: TopicRole, group: &str) -> Result<Option<SystemTime>, BusError> {
        let probe = self.probe(role, group)?;
        self.ask(move |cluster| probe.oldest_unconsumed(cluster)).await
    }

    async fn check(&self) -> Result<(), BusError> {
        self.ask(Cluster::check).await
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
