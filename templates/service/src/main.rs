//! The service on Kafka. It accepts the operator's token; a service for users verifies tokens with `accounts::TokenVerifier`,
//! as `alert-stream/src/program.rs` does.

use std::process::ExitCode;
use std::sync::Arc;

use accounts::AdminTokenArgs;
use bus::{KafkaArgs, KafkaBus, TopicArgs};
use clap::Parser;
use platform::config::{HttpArgs, OperatorArgs};
use platform::http::{self, OperatorPorts};
use platform::traces::TraceExporter;
use platform::{shutdown, telemetry};
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
    let Program { config, topics, kafka, token, http: listen, operator } = program;
    telemetry::init(&operator.log, operator.log_format)?;
    telemetry::start_metrics();
    let traces = TraceExporter::start(&operator.traces)?;
    let deps = connect(&topics, &kafka, &token).await?;
    let listener = http::listen(&listen).await?.traced(traces.service(env!("CARGO_PKG_NAME")));
    let health = service_template::health(&config, &deps);
    let ports = OperatorPorts::open(&operator, &health, axum::Router::new()).await?;
    let stop = shutdown::on_signal()?;
    let running = async {
        tokio::try_join!(
            service_template::run(config, deps.clone(), listener, stop.clone()),
            ports.serve(stop.clone())
        )?;
        Ok(deps.bus.close().await?)
    };
    let ended = shutdown::within(operator.stop_grace, stop.clone(), Box::pin(running)).await;
    traces.close().await;
    ended
}

async fn connect(topics: &TopicArgs, kafka: &KafkaArgs, token: &AdminTokenArgs) -> anyhow::Result<Deps> {
    let config = kafka.group_member_config()?;
    let accounts = token.admin_token()?;
    let bus = KafkaBus::connect(config, &topics.load()?).await?;
    Ok(Deps { bus: Arc::new(bus), accounts: Arc::new(accounts) })
}
