//! Settings of the log: the topics, and the connection to Kafka.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use contracts::Topics;
use settings::{Check, Secret, SettingErrors, required};

use crate::KafkaConfig;

/// The topics file.
#[derive(Debug, Clone, Args)]
pub struct TopicArgs {
    /// YAML file with the topics' names, partitions and retention; the built-in topics.yaml when not set
    #[arg(long, env = "SIGHTLINE_TOPICS_FILE", value_name = "PATH")]
    pub topics_file: Option<PathBuf>,

    /// Whether audiobooks are transcribed and described. With `off`, nobody creates, opens or expects the topics of audio, and nothing for it
    /// is downloaded
    #[arg(long, env = "SIGHTLINE_AUDIO", default_value = "off", action = ArgAction::Set, value_parser = settings::on_off(),
        value_name = "ON_OFF")]
    pub audio: bool,
}

impl TopicArgs {
    /// Reads the file, or the built-in topics.
    ///
    /// # Errors
    /// When the file cannot be read or is invalid. The message names the setting.
    pub fn load(&self) -> anyhow::Result<Topics> {
        Ok(self.parse()?.with_audio(self.audio))
    }

    fn parse(&self) -> anyhow::Result<Topics> {
        let Some(path) = &self.topics_file else {
            return Ok(Topics::parse(contracts::topics::DEFAULT)?);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("SIGHTLINE_TOPICS_FILE: cannot read {}: {error}", path.display()))?;
        Topics::parse(&text).map_err(|error| anyhow::anyhow!("SIGHTLINE_TOPICS_FILE {}: {error}", path.display()))
    }
}

impl Check for TopicArgs {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.load());
    }
}

/// The connection to Kafka.
#[derive(Debug, Clone, Args)]
pub struct KafkaArgs {
    /// Kafka brokers as host:port, comma-separated
    #[arg(long, env = "SIGHTLINE_KAFKA_BROKERS", value_name = "HOSTS", value_parser = brokers)]
    pub kafka_brokers: Option<String>,

    /// Settings of librdkafka as name=value, semicolon-separated, for example for SASL and TLS
    #[arg(long, env = "SIGHTLINE_KAFKA_PROPERTIES", value_name = "SETTINGS")]
    pub kafka_properties: Option<Secret>,

    /// Static member id of this process in its consumer groups, the same after a restart; `hostname` for the machine's name.
    /// With an id, a process that crashed continues as soon as it is back. Without one, its partitions wait for Kafka's
    /// session timeout of 15 seconds. Use it where names are stable, as in a Kubernetes StatefulSet
    #[arg(long, env = "SIGHTLINE_KAFKA_INSTANCE", value_name = "NAME")]
    pub kafka_instance: Option<String>,
}

/// librdkafka ignores what it cannot parse and then waits for a broker, so another URL is refused here. It knows
/// `PROTOCOL://host:port`.
fn brokers(text: &str) -> Result<String, String> {
    let is_broker = |broker: &str| {
        let (protocol, address) = broker.split_once("://").unwrap_or(("PLAINTEXT", broker));
        let known = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
        let is_known = known.iter().any(|known| protocol.eq_ignore_ascii_case(known));
        is_known && !address.is_empty() && !address.contains('/')
    };
    let mut named = text.split(',').map(str::trim).filter(|broker| !broker.is_empty()).peekable();
    if named.peek().is_some() && named.all(is_broker) {
        return Ok(text.to_owned());
    }
    Err("it must be host:port, without a scheme and a path; write commas between several".to_owned())
}

impl KafkaArgs {
    /// The connection settings of the cluster, without a static member id.
    ///
    /// # Errors
    /// When the brokers are not set or a property has no `=`. The message names the setting.
    pub fn config(&self) -> anyhow::Result<KafkaConfig> {
        Ok(KafkaConfig { properties: self.properties()?, ..KafkaConfig::new(self.brokers()?) })
    }

    /// The connection settings of the cluster as a member of consumer groups.
    ///
    /// # Errors
    /// When a setting is missing or invalid. The message names it.
    pub fn group_member_config(&self) -> anyhow::Result<KafkaConfig> {
        Ok(KafkaConfig { instance: self.instance()?, ..self.config()? })
    }

    /// The brokers.
    ///
    /// # Errors
    /// When they are not set.
    pub fn brokers(&self) -> anyhow::Result<&str> {
        required(self.kafka_brokers.as_deref(), "SIGHTLINE_KAFKA_BROKERS", "broker:9092")
    }

    fn instance(&self) -> anyhow::Result<Option<String>> {
        let name = match self.kafka_instance.as_deref() {
            Some("hostname") => std::fs::read_to_string("/proc/sys/kernel/hostname")
                .map_err(|error| anyhow::anyhow!("SIGHTLINE_KAFKA_INSTANCE: cannot read the host name: {error}"))?
                .trim()
                .to_owned(),
            Some(name) => name.to_owned(),
            None => return Ok(None),
        };
        let valid = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        anyhow::ensure!(
            (1..=200).contains(&name.len()) && name.chars().all(valid),
            "SIGHTLINE_KAFKA_INSTANCE: {name:?} must be 1 to 200 characters out of A-Z a-z 0-9 . _ -"
        );
        Ok(Some(name))
    }

    fn properties(&self) -> anyhow::Result<Vec<(String, String)>> {
        let text = self.kafka_properties.as_ref().map_or("", Secret::expose);
        let properties = text.split(';').map(str::trim).filter(|property| !property.is_empty());
        properties
            .map(|property| match property.split_once('=') {
                Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
                // The text is not shown: it may be part of a password.
                None => anyhow::bail!("SIGHTLINE_KAFKA_PROPERTIES: each property must be name=value; one has no ="),
            })
            .collect()
    }
}

/// Checks the settings of Kafka, when Kafka is configured.
impl Check for KafkaArgs {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.instance());
        errors.collect(self.properties());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_the_host_name_or_a_valid_kafka_name() {
        let named = |name: &str| {
            let kafka_instance = Some(name.to_owned());
            KafkaArgs { kafka_brokers: None, kafka_properties: None, kafka_instance }.instance()
        };
        assert_eq!(named("worker-1").unwrap().as_deref(), Some("worker-1"));
        assert!(!named("hostname").unwrap().unwrap().is_empty());
        for wrong in ["", "worker 1", "wörker", &"w".repeat(201)] {
            assert!(named(wrong).unwrap_err().to_string().contains("SIGHTLINE_KAFKA_INSTANCE"), "{wrong}");
        }
    }

    #[test]
    fn properties_are_pairs_and_errors_do_not_quote_them() {
        let read = |text: &str| {
            let kafka_properties = Some(text.parse().unwrap());
            KafkaArgs { kafka_brokers: None, kafka_properties, kafka_instance: None }.properties()
        };
        let pairs = read(" security.protocol = SASL_SSL; sasl.password=a=b ;ssl.ca.location=/ca.pem;").unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [("security.protocol", "SASL_SSL"), ("sasl.password", "a=b"), ("ssl.ca.location", "/ca.pem")]
        );
        let error = read("security.protocol=SSL;hunter2").unwrap_err().to_string();
        assert!(error.contains("SIGHTLINE_KAFKA_PROPERTIES") && !error.contains("hunter2"), "{error}");
    }
}
