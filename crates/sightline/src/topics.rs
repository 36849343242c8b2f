//! `sightline topics`: applies the topics file to a Kafka cluster, or compares the two. Also connects other commands to Kafka.

use anyhow::bail;
use bus::kafka::{KafkaConfig, admin};
use bus::{Bus, KafkaArgs, KafkaBus, TopicArgs};
use clap::{Args, Subcommand};
use contracts::Topics;

use crate::out;

/// Creates and changes topics of a Kafka cluster to match the topics file, or lists the differences
#[derive(Debug, Args)]
pub struct TopicsCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create missing topics and change settings; never adds partitions to a topic whose messages have keys
    Apply {
        /// Replicas of each topic [default: 3, or 1 if the cluster has fewer than three brokers]
        #[arg(long, value_name = "NUMBER")]
        replication: Option<i32>,
        #[command(flatten)]
        args: KafkaTopics,
    },
    /// List the differences; fails if there are any
    Check {
        #[command(flatten)]
        args: KafkaTopics,
    },
}

#[derive(Debug, Args)]
struct KafkaTopics {
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    topics: TopicArgs,
}

impl TopicsCommand {
    /// Runs the command and prints the result.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Apply { replication, args } => {
                let topics = topics(&args.topics)?;
                let changes = admin::apply(&config(&args.kafka)?, &topics, replication).await?;
                changes.iter().try_for_each(out::line)?;
                if changes.is_empty() {
                    out::line("nothing to do: the cluster matches the topics file")?;
                }
                Ok(())
            }
            Action::Check { args } => {
                let differences = admin::check(&config(&args.kafka)?, &topics(&args.topics)?).await?;
                differences.iter().try_for_each(out::line)?;
                if !differences.is_empty() {
                    bail!(
                        "the cluster has {} from the topics file; run `sightline topics apply`",
                        out::counted(differences.len(), "difference", "differences")
                    );
                }
                out::line("the cluster matches the topics file")
            }
        }
    }
}

/// The topics; prints which roles the topics file lacks.
fn topics(args: &TopicArgs) -> anyhow::Result<Topics> {
    let topics = args.load()?;
    for role in topics.defaulted() {
        let name = &topics.get(role).name;
        out::line(format_args!("the topics file has no entry for role {role}: its default topic {name} is used"))?;
    }
    Ok(topics)
}

/// Connects to Kafka.
pub async fn kafka(arguments: &KafkaArgs, topics: &Topics) -> anyhow::Result<impl Bus + use<>> {
    Ok(KafkaBus::connect(config(arguments)?, topics).await?)
}

/// The Kafka client's settings from the arguments.
pub fn config(arguments: &KafkaArgs) -> anyhow::Result<KafkaConfig> {
    arguments.group_member_config()
}
