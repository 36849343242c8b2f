//! Topics for each scenario on a real cluster, deleted at its end.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bus::kafka::admin;
use bus::{Bus, BusError, Consumer, ConsumerOptions, Delivery, Incoming, KafkaBus, KafkaConfig, Position};
use contracts::{Headers, Message, TopicRole, Topics};
use futures::FutureExt as _;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio::time::timeout;
use uuid::Uuid;

use crate::suite::{GROUP, TestLog};

/// Time limit for each step, so that a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(40);

/// Environment of a process that a test starts: the prefix of its topics, and its instance name in its group.
const PREFIX: &str = "SIGHTLINE_TEST_KAFKA_PREFIX";
const INSTANCE: &str = "SIGHTLINE_TEST_KAFKA_INSTANCE";

/// A cluster with topics and groups for one scenario.
#[derive(Clone)]
pub struct TestKafka {
    pub config: KafkaConfig,
    pub topics: Topics,
}

/// The brokers of the test cluster.
pub fn brokers() -> String {
    std::env::var("SIGHTLINE_TEST_KAFKA_BROKERS")
        .expect("SIGHTLINE_TEST_KAFKA_BROKERS names the brokers of a test cluster")
}

/// Runs a scenario on new topics with this many partitions (`alerts` has one), and deletes them even when it fails.
pub async fn on_kafka<F: Future<Output = ()>>(partitions: i32, scenario: impl FnOnce(TestKafka) -> F) {
    let kafka = TestKafka::new(partitions);
    kafka.apply().await;
    let outcome = AssertUnwindSafe(scenario(kafka.clone())).catch_unwind().await;
    kafka.delete().await;
    if let Err(failed) = outcome {
        std::panic::resume_unwind(failed);
    }
}

impl TestKafka {
    /// Topics with new names, which do not exist yet.
    pub fn new(partitions: i32) -> Self {
        Self::with_prefix(&format!("test-{}.", Uuid::new_v4().simple()), partitions)
    }

    /// The topics of the test that started this process; `None` if no test did.
    pub fn of_parent() -> Option<Self> {
        let kafka = Self::with_prefix(&std::env::var(PREFIX).ok()?, 1);
        Some(match std::env::var(INSTANCE) {
            Ok(name) => kafka.named(&name),
            Err(_) => kafka,
        })
    }

    /// The same topics for members of this instance name. Their session timeout is longer than any test.
    pub fn named(mut self, name: &str) -> Self {
        self.config.instance = Some(name.to_owned());
        self.config.properties = vec![("session.timeout.ms".to_owned(), "120000".to_owned())];
        self
    }

    fn with_prefix(prefix: &str, partitions: i32) -> Self {
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap().prefixed(prefix).map(|topic| {
            topic.partitions = if topic.role == TopicRole::Alerts { 1 } else { partitions };
        });
        let config = KafkaConfig {
            group_prefix: prefix.to_owned(),
            // A shorter session timeout than in production.
            properties: vec![("session.timeout.ms".to_owned(), "6000".to_owned())],
            ..KafkaConfig::new(brokers())
        };
        Self { config, topics }
    }

    /// A command that runs one test of this binary on these topics.
    pub fn process(&self, test: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--ignored", "--nocapture"]).env(PREFIX, &self.config.group_prefix);
        command.envs(self.config.instance.as_ref().map(|name| (INSTANCE, name)));
        command
    }

    /// The name of a group on the cluster.
    pub fn group(&self, group: &str) -> String {
        format!("{}{group}", self.config.group_prefix)
    }

    pub async fn apply(&self) {
        admin::apply(&self.config, &self.topics, None).await.unwrap();
    }

    /// A separate connection, as in another process.
    pub async fn bus(&self) -> Arc<KafkaBus> {
        Arc::new(KafkaBus::connect(self.config.clone(), &self.topics).await.unwrap())
    }

    pub async fn member(&self, bus: &KafkaBus, options: ConsumerOptions) -> KafkaMember {
        KafkaMember { consumer: bus.consumer(TopicRole::Frames, GROUP, options).await.unwrap() }
    }

    pub fn name(&self, role: TopicRole) -> &str {
        &self.topics.get(role).name
    }

    pub async fn delete_topics(&self) {
        let names: Vec<&str> = self.topics.iter().map(|topic| topic.name.as_str()).collect();
        admin_client().delete_topics(&names, &AdminOptions::new()).await.unwrap();
    }

    pub async fn delete(&self) {
        self.delete_topics().await;
        // A group without a member does not exist.
        for group in [GROUP, "another"] {
            drop(admin_client().delete_groups(&[&self.group(group)], &AdminOptions::new()).await);
        }
    }
}

#[async_trait]
impl TestLog for TestKafka {
    async fn open_with_queue(&self, bytes: usize) -> Arc<dyn Bus> {
        let config = KafkaConfig { queue_bytes: bytes, ..self.config.clone() };
        Arc::new(KafkaBus::connect(config, &self.topics).await.unwrap())
    }

    fn writing_process(&self) -> Command {
        self.process("kafka::writing_process")
    }
}

pub fn admin_client() -> AdminClient<DefaultClientContext> {
    rdkafka::ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap()
}

pub fn message(key: &str, value: impl std::fmt::Display + Copy) -> Message {
    Message {
        key: Some(key.to_owned().into()),
        headers: Headers::new().with("ce_id", value.to_string()),
        value: value.to_string().into(),
    }
}

pub fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.value.to_vec()).unwrap()
}

pub fn key(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.key.clone().unwrap().to_vec()).unwrap()
}

/// Sends all at once and waits for all acknowledgements.
pub async fn send(bus: &KafkaBus, role: TopicRole, messages: impl IntoIterator<Item = Message>) -> Vec<Position> {
    let producer = bus.producer();
    let sent: Vec<_> = messages.into_iter().map(|message| producer.send(role, message).unwrap()).collect();
    futures::future::try_join_all(sent).await.unwrap()
}

/// A group member whose waits time out.
pub struct KafkaMember {
    pub consumer: Box<dyn Consumer>,
}

impl KafkaMember {
    pub async fn next(&mut self) -> Incoming {
        self.next_within(TIMEOUT).await
    }

    async fn next_within(&mut self, limit: Duration) -> Incoming {
        timeout(limit, self.consumer.next()).await.expect("no message or event within the time limit").unwrap()
    }

    /// The next message; events between are skipped.
    pub async fn delivery(&mut self) -> Delivery {
        self.delivery_within(TIMEOUT).await
    }

    pub async fn delivery_within(&mut self, limit: Duration) -> Delivery {
        loop {
            if let Incoming::Delivery(delivery) = self.next_within(limit).await {
                return delivery;
            }
        }
    }

    /// This many messages, unfinished.
    pub async fn deliveries(&mut self, count: usize) -> Vec<Delivery> {
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            all.push(self.delivery().await);
        }
        all
    }

    /// Waits for an assignment and returns its partitions.
    pub async fn assigned(&mut self) -> BTreeSet<i32> {
        loop {
            if let Incoming::Assigned(partitions) = self.next().await {
                return partitions.into_iter().collect();
            }
        }
    }

    pub fn finish<'a>(&self, deliveries: impl IntoIterator<Item = &'a Delivery>) {
        let finisher = self.consumer.finisher();
        deliveries.into_iter().for_each(|delivery| finisher.finished(delivery.position));
    }

    pub async fn close(self) -> Result<(), BusError> {
        timeout(TIMEOUT, self.consumer.close()).await.expect("closing did not end within the time limit")
    }

    /// All messages and events within `while_`, to check that there are none.
    pub async fn within(&mut self, while_: Duration) -> Vec<Incoming> {
        let mut all = Vec::new();
        let end = tokio::time::Instant::now() + while_;
        while let Ok(incoming) = tokio::time::timeout_at(end, self.consumer.next()).await {
            all.push(incoming.unwrap());
        }
        all
    }
}

/// Sends a message that only external producers send: no key, a null value, a header whose name is not UTF-8 and one without a value.
pub async fn send_foreign(topic: &str) {
    use rdkafka::bindings::{rd_kafka_header_add, rd_kafka_headers_t};
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::producer::{FutureProducer, FutureRecord};

    let headers = OwnedHeaders::new();
    let name = b"caf\xe9";
    // SAFETY: the crate passes borrowed headers as the very pointer of librdkafka, which copies the name and the value.
    unsafe {
        let native = std::ptr::from_ref(headers.as_borrowed()).cast_mut().cast::<rd_kafka_headers_t>();
        rd_kafka_header_add(native, name.as_ptr().cast(), name.len().cast_signed(), name.as_ptr().cast(), 4);
    }
    let headers = headers.insert(Header { key: "empty", value: None::<&[u8]> });
    let producer: FutureProducer = rdkafka::ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    let record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).headers(headers);
    producer.send(record, TIMEOUT).await.unwrap();
}

/// Sends one message to a partition in a transaction, whose mark takes the offset after it.
pub async fn send_transaction(topic: &str, partition: i32) {
    use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", brokers()).set("transactional.id", Uuid::new_v4().to_string());
    let producer: FutureProducer = config.create().unwrap();
    let in_transaction = producer.clone();
    tokio::task::spawn_blocking(move || {
        in_transaction.init_transactions(TIMEOUT)?;
        in_transaction.begin_transaction()
    })
    .await
    .unwrap()
    .unwrap();
    let record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).partition(partition).payload(b"0");
    producer.send(record, TIMEOUT).await.unwrap();
    tokio::task::spawn_blocking(move || producer.commit_transaction(TIMEOUT)).await.unwrap().unwrap();
}
