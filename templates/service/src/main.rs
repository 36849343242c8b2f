//! The service on Kafka. It accepts the operator's token; a service for users verifies tokens with `accounts::TokenVerifier`,
//! as `alert-stream/src/program.rs` does.

use std::process::ExitCode;
use std::sync::Arc;

use accounts::AdminTokenArgs;
use bus::{KafkaArgs, KafkaBus, TopicArgs};
use clap::Parser;
use platform::config::{HttpArgs, OperatorArgs};
use platform::{Process, shutdown};
use service_template::{Config, Deps};
use settings::{Check, SettingErrors};

/// Results in; counts by detector out
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
    token: AdminTokenArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.kafka.group_member_config());
        errors.collect(self.token.admin_token());
        self.topics.check(errors);
        self.http.check(errors);
        self.operator.check(errors);
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    shutdown::exit(Box::pin(run(settings::parse_and_check())).await)
}

async fn run(program: Program) -> anyhow::Result<()> {
    let Program { config, topics, kafka, token, http, operator } = program;
    let process = Process::start(operator)?;
    let deps = connect(&topics, &kafka, &token).await?;
    let (health, traces) = (service_template::health(&config, &deps), process.traces(env!("CARGO_PKG_NAME")));
    let running = process.serve(&http, health, async |listener, stop| {
        Box::pin(service_template::run(config, deps.clone(), listener.traced(traces), stop)).await?;
        Ok(deps.bus.close().await?)
    });
    running.await
}

async fn connect(topics: &TopicArgs, kafka: &KafkaArgs, token: &AdminTokenArgs) -> anyhow::Result<Deps> {
    let config = kafka.group_member_config()?;
    let accounts = token.admin_token()?;
    let bus = KafkaBus::connect(config, &topics.load()?).await?;
    Ok(Deps { bus: Arc::new(bus), accounts: Arc::new(accounts) })
}
