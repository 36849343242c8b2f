//! The indexer of an installation with Kafka and MongoDB.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use bus::{KafkaArgs, KafkaBus, TopicArgs};
use clap::Parser;
use platform::config::OperatorArgs;
use platform::traces::Traces;
use platform::{Process, shutdown};
use rules::BuiltInRuleSettings;
use settings::{Check, SettingErrors};
use store::MongoArgs;
use store::MongoDocuments;

use crate::{Config, Deps};

/// Results in; documents and alerts out
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    built_ins: BuiltInRuleSettings,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.kafka.group_member_config());
        errors.collect(self.mongo.uri());
        self.topics.check(errors);
        self.operator.check(errors);
    }
}

/// Reads the settings, connects and runs until a signal.
#[tokio::main]
pub async fn main() -> ExitCode {
    shutdown::exit(Box::pin(run(settings::parse_and_check())).await)
}

async fn run(program: Program) -> anyhow::Result<()> {
    let Program { config, topics, built_ins, kafka, mongo, operator } = program;
    let process = Process::start(operator)?;
    let deps = connect(&topics, &kafka, &mongo).await?;
    let deps = Deps { traces: process.traces("indexer"), ..deps };
    let health = crate::health(&config, &deps);
    let running = process.run(&health, async |stop| {
        Box::pin(crate::run(config, built_ins, deps.clone(), stop)).await?;
        Ok(deps.bus.close().await?)
    });
    running.await
}

async fn connect(topics: &TopicArgs, kafka: &KafkaArgs, mongo: &MongoArgs) -> anyhow::Result<Deps> {
    let kafka = kafka.group_member_config()?;
    let uri = mongo.uri()?;
    let bus = KafkaBus::connect(kafka, &topics.load()?).await?;
    let documents = MongoDocuments::connect(uri.expose(), mongo.mongodb_database.as_deref()).await?;
    let documents = Arc::new(documents);
    Ok(Deps {
        bus: Arc::new(bus),
        documents: documents.clone(),
        rules: documents.clone(),
        watchlists: documents,
        traces: Traces::off(),
    })
}
