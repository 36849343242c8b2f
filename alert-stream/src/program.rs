//! The alert stream of an installation with Kafka, PostgreSQL and Redis.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use api_kit::callers::{CallerArgs, Callers};
use bus::{KafkaArgs, KafkaBus, TopicArgs};
use clap::Parser;
use platform::config::{HttpArgs, OperatorArgs};
use platform::traces::Traces;
use platform::{Process, shutdown};
use settings::{Check, SettingErrors};

use crate::{Config, Deps};

/// Alerts in; server-sent events out
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    callers: CallerArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.kafka.config());
        self.callers.check(errors);
        self.topics.check(errors);
        self.http.check(errors);
        self.operator.check(errors);
    }
}

/// Reads the settings, connects and runs until a signal.
#[tokio::main]
pub async fn main() -> ExitCode {
    shutdown::exit(Box::pin(run(settings::parse_and_check())).await)
}

async fn run(program: Program) -> anyhow::Result<()> {
    let Program { config, topics, kafka, callers, http, operator } = program;
    let process = Process::start(operator)?;
    let callers = callers.connect().await?;
    let deps = connect(&topics, &kafka, &callers).await?;
    let deps = Deps { traces: process.traces("alert-stream"), ..deps };
    let health = crate::health(&config, &deps);
    let running = process.serve(&http, health, async |listener, stop| {
        let serving = crate::run(config, deps.clone(), listener, stop.clone());
        tokio::try_join!(serving, callers.watch_revocations(stop))?;
        Ok(deps.bus.close().await?)
    });
    running.await
}

async fn connect(topics: &TopicArgs, kafka: &KafkaArgs, callers: &Callers) -> anyhow::Result<Deps> {
    let bus = KafkaBus::connect(kafka.config()?, &topics.load()?).await?;
    Ok(Deps { bus: Arc::new(bus), accounts: callers.accounts.clone(), traces: Traces::off() })
}
