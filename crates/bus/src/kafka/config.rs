//! How to connect to a cluster. In: brokers and the operator's properties (TLS, SASL, tuning). Out: librdkafka's settings for
//! each kind of client. Settings that the guarantees of this crate depend on are fixed.

use std::fmt;
use std::time::Duration;

use contracts::Topics;
use rdkafka::ClientConfig;

use crate::seam::BusError;

/// Time limit for the acknowledgement of a message.
pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(45);
/// Overhead of a batch on the wire in bytes, with a margin. The limit of a Kafka topic is higher by this.
pub(super) const OVERHEAD_BYTES: usize = 16 << 10;
/// Time limit for a broker's answer; then the connection is closed and the request repeated.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A group member without a heartbeat for this long is dead, and its partitions are assigned to others.
const SESSION_TIMEOUT: Duration = Duration::from_secs(15);

/// Properties that the operator must not change, because the guarantees of this crate depend on them.
const FIXED: [&str; 12] = [
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

/// How to connect to a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port`, several with commas.
    pub brokers: String,
    /// Name of this client in the brokers' logs and quotas.
    pub client_id: String,
    /// Prefix of every group's name, which keeps installations on one cluster apart; often empty.
    pub group_prefix: String,
    /// Name of this process in its groups (Kafka's `group.instance.id`): unique there, and the same after a
    /// restart. After a crash, a named member gets its partitions back as soon as it restarts; without a name they
    /// wait for the session timeout. A named member that leaves for good also keeps its partitions until that
    /// timeout.
    pub instance: Option<String>,
    /// Further properties of librdkafka, such as `security.protocol` and `sasl.password`. They may contain secrets.
    pub properties: Vec<(String, String)>,
    /// Maximum number of unacknowledged bytes of the producer; further messages are refused.
    pub queue_bytes: usize,
    /// Time limit for connecting, queries and administration.
    pub timeout: Duration,
}

impl KafkaConfig {
    /// An unencrypted connection to these brokers.
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

    /// Settings of every kind of client.
    pub(super) fn client(&self) -> Result<ClientConfig, BusError> {
        if let Some((fixed, _)) = self.properties.iter().find(|(key, _)| FIXED.contains(&key.as_str())) {
            return Err(BusError::Fatal(format!("the Kafka property {fixed} is fixed; remove it from the settings")));
        }
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("reconnect.backoff.max.ms", "1000")
            // With sparse connections, librdkafka 2.12 repeats connection attempts without a pause while all brokers are away.
            .set("enable.sparse.connections", "false")
            .set("socket.timeout.ms", REQUEST_TIMEOUT.as_millis().to_string())
            .set("socket.keepalive.enable", "true")
            .set("log.connection.close", "false");
        Ok(config)
    }

    /// The producer's settings.
    pub(super) fn producer(&self, topics: &Topics) -> Result<ClientConfig, BusError> {
        let limits = || topics.iter().map(|topic| topic.max_message_bytes);
        let largest = limits().max().unwrap_or(1 << 20) + OVERHEAD_BYTES;
        // A batch over a topic's limit is refused as a whole, so batches stay within the smallest limit.
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

    /// Settings of members, readers and probes. librdkafka requires a `group` even for clients that join none.
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
            // Limits prefetching, and fetches again soon after the buffer has space.
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.message.max.bytes", "2097152")
            .set("fetch.max.bytes", "16777216")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.queue.backoff.ms", "10");
        Ok(self.with_properties(config))
    }

    /// Settings of a group member.
    pub(super) fn member(&self, group: &str) -> Result<ClientConfig, BusError> {
        let mut config = self.consumer(group)?;
        if let Some(instance) = &self.instance {
            config.set("group.instance.id", instance);
        }
        Ok(config)
    }

    /// Settings of a client for queries, which has no group and reads no messages.
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
    fn fixed_properties_are_refused() {
        for key in ["acks", "enable.idempotence", "enable.auto.commit"] {
            let error = with(key, "whatever").client().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn sasl_and_tls_properties_reach_every_kind_of_client() {
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
    fn the_operators_properties_take_precedence_and_are_not_printed() {
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
        assert_eq!(with("linger.ms", "7").producer(&topics).unwrap().get("linger.ms"), Some("7"));
        let printed = format!("{:?}", with("sasl.password", "hunter2"));
        assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
    }
}
