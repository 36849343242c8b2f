//! `sightline topics`: a Kafka cluster and the topics file, made to agree or compared. And the way to Kafka for the others.

use anyhow::bail;
use bus::kafka::{KafkaConfig, admin};
use bus::{Bus, KafkaBus};
use clap::{Args, Subcommand};
use contracts::Topics;
use platform::Common;
use platform::config::KafkaArgs;

use crate::out;

/// Makes a Kafka cluster agree with the topics file, or says where it does not
#[derive(Debug, Args)]
pub struct TopicsCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make missing topics and change differing settings; never grows a topic whose messages have keys
    Apply {
        /// Copies of each topic; 3 when not set, or 1 where the cluster has fewer than three brokers
        #[arg(long, value_name = "NUMBER")]
        replication: Option<i32>,
        #[command(flatten)]
        place: Place,
    },
    /// Say where the cluster differs; fails when it does
    Check {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    common: Common,
}

impl TopicsCommand {
    /// Does it and prints what came of it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Apply { replication, place } => {
                let changes = admin::apply(&config(&place.kafka)?, &place.common.topics()?, replication).await?;
                changes.iter().try_for_each(out::line)?;
                if changes.is_empty() {
                    out::line("nothing to do: the cluster agrees")?;
                }
                Ok(())
            }
            Action::Check { place } => {
                let differences = admin::check(&config(&place.kafka)?, &place.common.topics()?).await?;
                differences.iter().try_for_each(out::line)?;
                if !differences.is_empty() {
                    bail!(
                        "the cluster differs in {} places; `sightline topics apply` mends what can be",
                        differences.len()
                    );
                }
                out::line("the cluster agrees")
            }
        }
    }
}

/// Connects to Kafka.
pub async fn kafka(arguments: &KafkaArgs, topics: &Topics) -> anyhow::Result<impl Bus + use<>> {
    Ok(KafkaBus::connect(config(arguments)?, topics).await?)
}

/// The way to Kafka as the arguments have it.
pub fn config(arguments: &KafkaArgs) -> anyhow::Result<KafkaConfig> {
    let (properties, instance) = (arguments.properties()?, arguments.instance()?);
    Ok(KafkaConfig { properties, instance, ..KafkaConfig::new(arguments.brokers()?) })
}
