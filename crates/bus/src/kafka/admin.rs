//! Makes a cluster's topics agree with `topics.yaml`, or lists the differences.
//!
//! Missing topics are created. Settings that differ are set; other settings of the topic stay as they are. The number of
//! partitions is never changed: keys would move to other partitions and lose their order.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::{Topic, Topics};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewTopic, OwnedResourceSpecifier,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::types::RDKafkaErrorCode;

use super::blocking;
use super::cluster::Cluster;
use super::config::{KafkaConfig, OVERHEAD_BYTES};
use super::context::{Context, bus_error, of_code};
use super::native::TopicDescription;
use crate::seam::BusError;

/// Smallest size of a segment that Kafka accepts, and its default.
const LEAST_SEGMENT: u64 = 1 << 20;
const LARGEST_SEGMENT: u64 = 1 << 30;
/// Time limit for a broker to list a topic that was created.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A difference between a cluster and `topics.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The topic does not exist.
    Missing {
        /// Its name.
        topic: String,
        /// Number of partitions in `topics.yaml`.
        partitions: i32,
    },
    /// The topic has another number of partitions.
    Partitions {
        /// Its name.
        topic: String,
        /// Number of partitions on the cluster.
        found: i32,
        /// Number of partitions in `topics.yaml`.
        wanted: i32,
    },
    /// A setting of the topic has another value.
    Setting {
        /// Its name.
        topic: String,
        /// Kafka's name of the setting.
        setting: &'static str,
        /// The value on the cluster; `None` where the cluster does not report it.
        found: Option<String>,
        /// The value according to `topics.yaml`.
        wanted: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { topic, partitions } => write!(f, "topic {topic} is missing ({})", counted(*partitions)),
            Self::Partitions { topic, found, wanted } => {
                let found = counted(*found);
                write!(f, "topic {topic} has {found}, topics.yaml says {wanted}; keys would lose their order, so ")?;
                f.write_str("change topics.yaml, or create a topic with another name")
            }
            Self::Setting { topic, setting, found, wanted } => {
                let found = found.as_deref().unwrap_or("unknown");
                write!(f, "topic {topic}: {setting} is {found}, should be {wanted}")
            }
        }
    }
}

/// The outcome of [`apply`] for one difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The difference.
    pub difference: Difference,
    /// Whether the difference was removed. The number of partitions is never changed.
    pub applied: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.difference, self.applied) {
            (Difference::Missing { topic, partitions }, true) => {
                write!(f, "created {topic} ({})", counted(*partitions))
            }
            (Difference::Setting { topic, setting, wanted, .. }, true) => {
                write!(f, "set {setting} of {topic} to {wanted}")
            }
            (difference, _) => write!(f, "left: {difference}"),
        }
    }
}

/// `1 partition`, `2 partitions`.
fn counted(partitions: i32) -> String {
    format!("{partitions} partition{}", if partitions == 1 { "" } else { "s" })
}

/// Lists the differences.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub async fn check(config: &KafkaConfig, topics: &Topics) -> Result<Vec<Difference>, BusError> {
    Admin::connect(config, topics)?.differences().await
}

/// Makes the cluster agree and returns what was done. New topics get `replication` replicas;
/// without it, three if there are at least three brokers, else one. With three, one broker may be
/// down: `min.insync.replicas` is two. New topics are visible to clients when this returns.
///
/// # Errors
/// When the cluster cannot be reached or refuses, or does not list a new topic within a minute.
pub async fn apply(config: &KafkaConfig, topics: &Topics, replication: Option<i32>) -> Result<Vec<Change>, BusError> {
    let admin = Admin::connect(config, topics)?;
    let differences = admin.differences().await?;
    let mut changes = Vec::with_capacity(differences.len());
    let mut set: Vec<&str> = Vec::new();
    for difference in &differences {
        let applied = match difference {
            Difference::Missing { topic, .. } => admin.create(topic, replication).await?,
            // All settings of a topic are set at once.
            Difference::Setting { topic, .. } if set.contains(&topic.as_str()) => true,
            Difference::Setting { topic, .. } => {
                set.push(topic);
                admin.set(topic, &differences).await?
            }
            Difference::Partitions { .. } => false,
        };
        changes.push(Change { difference: difference.clone(), applied });
    }
    if differences.iter().any(|difference| matches!(difference, Difference::Missing { .. })) {
        admin.wait_until_visible().await?;
    }
    Ok(changes)
}

/// Deletes the topics and their messages. Meant for topics of benches and tests.
///
/// # Errors
/// When the cluster cannot be reached or refuses; a missing topic is not an error.
pub async fn delete(config: &KafkaConfig, topics: &Topics) -> Result<(), BusError> {
    let admin = Admin::connect(config, topics)?;
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    let action = "delete topics";
    let results =
        admin.client.delete_topics(&names, &admin.options).await.map_err(|error| bus_error(action, &error))?;
    let refused = results.into_iter().filter_map(Result::err);
    match refused.map(|(_, code)| code).find(|code| *code != RDKafkaErrorCode::UnknownTopicOrPartition) {
        None => Ok(()),
        Some(code) => Err(of_code(action, code)),
    }
}

/// The settings of a topic according to `topics.yaml`. Without a limit of bytes, a limit that the operator set stays.
fn wanted(topic: &Topic) -> Vec<(&'static str, String)> {
    // Retention drops closed segments only, so a segment must cover much less time than the retention.
    let segment = (topic.retention / 4).clamp(Duration::from_secs(60), Duration::from_secs(6 * 3600));
    let mut wanted = vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", topic.retention.as_millis().to_string()),
        ("segment.ms", segment.as_millis().to_string()),
        ("max.message.bytes", (topic.max_message_bytes + OVERHEAD_BYTES).to_string()),
        // The broker's clock decides the age of a message, not the producer's.
        ("message.timestamp.type", "LogAppendTime".to_owned()),
    ];
    if let Some(bytes) = topic.retention_bytes {
        let segment = (bytes / 4).clamp(LEAST_SEGMENT, LARGEST_SEGMENT);
        wanted.extend([("retention.bytes", bytes.to_string()), ("segment.bytes", segment.to_string())]);
    }
    wanted
}

struct Admin {
    client: AdminClient<Context>,
    cluster: Arc<Cluster>,
    topics: Topics,
    options: AdminOptions,
}

impl Admin {
    fn connect(config: &KafkaConfig, topics: &Topics) -> Result<Self, BusError> {
        let client = AdminClient::from_config_and_context(&config.query()?, Context::default())
            .map_err(|error| bus_error("create a Kafka client", &error))?;
        let timeout = Some(config.timeout);
        Ok(Self {
            client,
            cluster: Arc::new(Cluster::new(config, topics)?),
            topics: topics.clone(),
            options: AdminOptions::new().request_timeout(timeout).operation_timeout(timeout),
        })
    }

    async fn differences(&self) -> Result<Vec<Difference>, BusError> {
        let cluster = self.cluster.clone();
        let found = blocking(move || cluster.describe()).await?;
        let settings = self.settings(&found).await?;
        let mut differences = Vec::new();
        for topic in self.topics.iter() {
            match found.iter().find(|found| found.name == topic.name) {
                None => {
                    differences.push(Difference::Missing { topic: topic.name.clone(), partitions: topic.partitions });
                }
                Some(found) => differences.extend(compare(topic, found, settings.get(topic.name.as_str()))),
            }
        }
        Ok(differences)
    }

    /// The settings of these topics, by name.
    async fn settings(&self, found: &[TopicDescription]) -> Result<HashMap<String, ConfigResource>, BusError> {
        if found.is_empty() {
            return Ok(HashMap::new());
        }
        let specifiers: Vec<ResourceSpecifier<'_>> =
            found.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
        let action = "query the settings of the topics";
        let results = self
            .client
            .describe_configs(&specifiers, &self.options)
            .await
            .map_err(|error| bus_error(action, &error))?;
        let mut settings = HashMap::with_capacity(found.len());
        for result in results {
            let resource = result.map_err(|code| of_code(action, code))?;
            if let OwnedResourceSpecifier::Topic(name) = &resource.specifier {
                settings.insert(name.clone(), resource);
            }
        }
        Ok(settings)
    }

    async fn create(&self, name: &str, replication: Option<i32>) -> Result<bool, BusError> {
        let Some(topic) = self.topics.iter().find(|topic| topic.name == name) else { return Ok(false) };
        let replicas = match replication {
            Some(replicas) => replicas,
            None if self.brokers().await? >= 3 => 3,
            None => 1,
        };
        let in_sync = if replicas >= 3 { "2" } else { "1" };
        let wanted = wanted(topic);
        let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(replicas));
        let new = wanted.iter().fold(new, |new, (key, value)| new.set(key, value)).set("min.insync.replicas", in_sync);
        let action = format!("create topic {name}");
        let results =
            self.client.create_topics([&new], &self.options).await.map_err(|error| bus_error(&action, &error))?;
        match results.into_iter().next() {
            // Another process created it in the meantime.
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) | None => Ok(true),
            Some(Err((_, code))) => Err(of_code(&action, code)),
        }
    }

    /// The controller responds when it has created a topic; other brokers list it later, on a busy machine after seconds.
    async fn wait_until_visible(&self) -> Result<(), BusError> {
        let deadline = Instant::now() + VISIBLE_TIMEOUT;
        loop {
            let cluster = self.cluster.clone();
            let found = blocking(move || cluster.describe()).await?;
            let missing = self.topics.iter().find(|topic| found.iter().all(|found| found.name != topic.name));
            let Some(missing) = missing else { return Ok(()) };
            if Instant::now() > deadline {
                let name = &missing.name;
                let reason = format!(
                    "Kafka created topic {name} but does not list it; see `sightline topics check` and its logs"
                );
                return Err(BusError::Unavailable(reason));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sets a topic's differing settings. Kafka's call replaces all settings of the topic, so the operator's own are repeated.
    async fn set(&self, name: &str, differences: &[Difference]) -> Result<bool, BusError> {
        let action = format!("set the settings of topic {name}");
        let topic = TopicDescription { name: name.to_owned(), id: None, partitions: 0 };
        let settings = self.settings(&[topic]).await?;
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(name));
        for entry in settings.get(name).into_iter().flat_map(|resource| &resource.entries) {
            if let (ConfigSource::DynamicTopic, Some(value)) = (&entry.source, &entry.value) {
                alter = alter.set(&entry.name, value);
            }
        }
        for difference in differences {
            if let Difference::Setting { topic, setting, wanted, .. } = difference
                && topic == name
            {
                alter = alter.set(setting, wanted);
            }
        }
        let results =
            self.client.alter_configs([&alter], &self.options).await.map_err(|error| bus_error(&action, &error))?;
        match results.into_iter().next() {
            Some(Err((_, code))) => Err(of_code(&action, code)),
            _ => Ok(true),
        }
    }

    async fn brokers(&self) -> Result<usize, BusError> {
        let cluster = self.cluster.clone();
        blocking(move || cluster.brokers()).await
    }
}

fn compare(topic: &Topic, found: &TopicDescription, settings: Option<&ConfigResource>) -> Vec<Difference> {
    let mut differences = Vec::new();
    if found.partitions != topic.partitions {
        let (found, wanted) = (found.partitions, topic.partitions);
        differences.push(Difference::Partitions { topic: topic.name.clone(), found, wanted });
    }
    for (setting, wanted) in wanted(topic) {
        let found = settings.and_then(|settings| settings.get(setting)).and_then(|entry| entry.value.clone());
        if found.as_ref() != Some(&wanted) {
            differences.push(Difference::Setting { topic: topic.name.clone(), setting, found, wanted });
        }
    }
    differences
}
