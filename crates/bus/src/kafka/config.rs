//! How to reach a cluster. In: brokers and what the operator adds (TLS, SASL, tuning). Out: librdkafka's settings for each
//! kind of client, with what the promises of this crate rest on held fast.

use std::fmt;
use std::time::Duration;

use contracts::Topics;
use rdkafka::ClientConfig;

use crate::seam::BusError;

/// How long a message may wait for its acknowledgement before it is given up.
pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(45);
/// What a batch of messages takes on the wire beside them, with room to spare: the limit of a topic is set higher by this.
pub(super) const OVERHEAD_BYTES: usize = 16 << 10;
/// A broker that leaves a request without an answer for this long is given up, and asked again over a new connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A group's member that was not heard of for this long is dead, and its partitions go to others.
const SESSION_TIMEOUT: Duration = Duration::from_secs(15);

/// Settings that the promises of this crate rest on, so that nobody may change them.
const HELD: [&str; 12] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "client.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "group.protocol",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
];

/// How to reach a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// What brokers see in their logs and quotas.
    pub client_id: String,
    /// Stands before the name of every group, so that installations on one cluster do not share groups; often empty.
    pub group_prefix: String,
    /// The name of this process in its groups, its own there and the same after a restart. A member with a name that dies takes
    /// up its partitions as soon as it is back; without one they wait until it is missed. But it also keeps them when it
    /// leaves, until it is missed.
    pub instance: Option<String>,
    /// More settings of librdkafka by their own names, such as `security.protocol` and `sasl.password`. They may hold secrets.
    pub properties: Vec<(String, String)>,
    /// Most bytes that wait for acknowledgement; what comes on top is refused.
    pub queue_bytes: usize,
    /// How long start-up, queries and administration wait for the cluster.
    pub timeout: Duration,
}

impl KafkaConfig {
    /// A plain connection to these brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            client_id: "sightline".to_owned(),
            group_prefix: String::new(),
            instance: None,
            properties: Vec::new(),
            queue_bytes: 64 << 20,
            timeout: Duration::from_secs(8),
        }
    }

    /// What all clients share.
    pub(super) fn client(&self) -> Result<ClientConfig, BusError> {
        if let Some((held, _)) = self.properties.iter().find(|(key, _)| HELD.contains(&key.as_str())) {
            return Err(BusError::Fatal(format!("the Kafka property {held} is fixed; remove it from the settings")));
        }
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.timeout.ms", ANSWER_TIMEOUT.as_millis().to_string())
            .set("socket.keepalive.enable", "true")
            .set("log.connection.close", "false");
        Ok(config)
    }

    /// The producer's settings.
    pub(super) fn producer(&self, topics: &Topics) -> Result<ClientConfig, BusError> {
        let limits = || topics.iter().map(|topic| topic.max_message_bytes);
        let largest = limits().max().unwrap_or(1 << 20) + OVERHEAD_BYTES;
        // A batch over a topic's limit is refused whole, so none may outgrow the smallest limit.
        let batch = limits().min().unwrap_or(1 << 20).min(1_000_000);
        let mut config = self.client()?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "2")
            .set("delivery.timeout.ms", DELIVERY_TIMEOUT.as_millis().to_string())
            .set("message.max.bytes", largest.to_string())
            .set("batch.size", batch.to_string())
            .set("queue.buffering.max.kbytes", (self.queue_bytes / 1024).max(1).to_string())
            .set("queue.buffering.max.messages", "100000");
        Ok(self.with_properties(config))
    }

    /// Settings of what reads: members of groups, readers and probes. `group` is needed even by those that join none.
    pub(super) fn consumer(&self, group: &str) -> Result<ClientConfig, BusError> {
        let mut config = self.client()?;
        config
            .set("group.id", format!("{}{group}", self.group_prefix))
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // What is fetched ahead is bounded, and fetched again soon when there is room.
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.message.max.bytes", "2097152")
            .set("fetch.max.bytes", "16777216")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "10");
        Ok(self.with_properties(config))
    }

    /// Settings of a group's member.
    pub(super) fn member(&self, group: &str) -> Result<ClientConfig, BusError> {
        let mut config = self.consumer(group)?;
        if let Some(instance) = &self.instance {
            config.set("group.instance.id", instance);
        }
        Ok(config)
    }

    /// Settings of a client that only asks: no group, no messages.
    pub(super) fn query(&self) -> Result<ClientConfig, BusError> {
        Ok(self.with_properties(self.client()?))
    }

    fn with_properties(&self, mut config: ClientConfig) -> ClientConfig {
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
    }
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.properties.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("group_prefix", &self.group_prefix)
            .field("instance", &self.instance)
            .field("properties", &keys)
            .field("queue_bytes", &self.queue_bytes)
            .field("timeout", &self.timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> KafkaConfig {
        KafkaConfig { properties: vec![(key.to_owned(), value.to_owned())], ..KafkaConfig::new("broker:9092") }
    }

    #[test]
    fn what_the_promises_rest_on_cannot_be_changed() {
        for key in ["acks", "enable.idempotence", "enable.auto.commit"] {
            let error = with(key, "whatever").client().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn what_sasl_and_tls_need_reaches_every_kind_of_client() {
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
        for (key, value) in [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", "sightline"),
            ("sasl.password", "hunter2"),
            ("ssl.ca.location", "/etc/kafka/ca.pem"),
        ] {
            let config = with(key, value);
            let (producer, consumer) = (config.producer(&topics).unwrap(), config.consumer("group").unwrap());
            let (member, query) = (config.member("group").unwrap(), config.query().unwrap());
            for client in [producer, consumer, member, query] {
                assert_eq!(client.get(key), Some(value), "{key}");
            }
        }
    }

    #[test]
    fn what_the_operator_adds_wins_over_defaults_and_its_value_is_not_printed() {
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
        assert_eq!(with("linger.ms", "7").producer(&topics).unwrap().get("linger.ms"), Some("7"));
        let printed = format!("{:?}", with("sasl.password", "hunter2"));
        assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
    }
}
