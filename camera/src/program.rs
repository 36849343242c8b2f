//! The program `camera`: many sources of a list, the two parts that other programs start, and the health check of its image.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use platform::config::OperatorArgs;
use platform::http::OperatorPorts;
use platform::{Healthcheck, error_line, one_line, shutdown, telemetry};
use settings::{Check, SettingErrors};
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::{Cameras, Config, push, source_process, task, video};

/// Videos and live cameras in; frames out
#[derive(Debug, Parser)]
#[command(version)]
struct Program {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    operator: OperatorArgs,

    /// End when standard input ends: `sightline up` sets it, so that nothing goes on when it was killed
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Run one source; started by this program, with a task on standard input
    #[command(hide = true)]
    Source {
        /// Its stream, for people who read the list of processes
        stream: String,
    },
    /// Send sources one after the other; started by `sightline push`, with a task on standard input
    #[command(hide = true)]
    Push,
    /// Read the list of cameras, say what is wrong with it, and end
    Check {
        /// Do not look whether the recordings are there
        #[arg(long)]
        list_only: bool,
    },
    /// Ask the program in this container whether it is ready
    Healthcheck(Healthcheck),
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        self.operator.check(errors);
        if self.part.is_none() {
            errors.collect(self.config.server());
        }
        let list = match self.part {
            None | Some(Part::Check { list_only: true }) => self.config.cameras(),
            Some(Part::Check { list_only: false }) => self.config.cameras_with_files(),
            Some(_) => return,
        };
        list.err().into_iter().flatten().for_each(|mistake| errors.add(mistake));
    }
}

/// Reads the settings and runs until a signal.
#[tokio::main]
pub async fn main() -> ExitCode {
    match Box::pin(run(settings::parse_and_check())).await {
        Ok(code) => code,
        Err(error) => shutdown::exit(Err(error)),
    }
}

async fn run(program: Program) -> anyhow::Result<ExitCode> {
    let Program { part, config, operator, until_stdin_ends } = program;
    telemetry::init(&operator.log, operator.log_format)?;
    video::start_log();
    let stop = shutdown::on_signal()?;
    if until_stdin_ends {
        task::stop_at_end_of_stdin(&stop);
    }
    match part {
        Some(Part::Source { .. }) => source_process::run(stop).await?,
        Some(Part::Push) => return push::run(stop).await,
        Some(Part::Healthcheck(healthcheck)) => {
            let line = healthcheck.ask().await?;
            // Nobody may read it.
            drop(writeln!(std::io::stdout(), "{line}"));
        }
        Some(Part::Check { .. }) => say_what_is_right(&config)?,
        None => {
            let given_up = run_all(&config, &operator, stop.clone()).await?;
            // A stop is no failure, and `up` would start everything again.
            let is_failure = !given_up.is_empty() && !stop.is_cancelled() && !until_stdin_ends;
            anyhow::ensure!(!is_failure, "not sent to its end: {}; the lines above say why", given_up.join(", "));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings were checked.
fn say_what_is_right(config: &Config) -> anyhow::Result<()> {
    let list = read_list(config)?;
    for warning in config.warnings(&list) {
        error_line(one_line(&format_args!("warning: {warning}")));
    }
    let name = config.cameras.as_deref().unwrap_or_else(|| Path::new("the list")).display();
    let what = match list.cameras.len() {
        1 => "1 camera is".to_owned(),
        count => format!("{count} cameras are"),
    };
    // Nobody may read it.
    drop(writeln!(std::io::stdout(), "{}", one_line(&format_args!("{name}: {what} right"))));
    Ok(())
}

fn read_list(config: &Config) -> anyhow::Result<Cameras> {
    config.cameras().map_err(|mistakes| anyhow::anyhow!(mistakes.join("; ")))
}

/// Returns the recordings that were not sent to their end.
async fn run_all(config: &Config, operator: &OperatorArgs, stop: CancellationToken) -> anyhow::Result<Vec<String>> {
    telemetry::start_metrics();
    let server = config.server()?;
    let api = Arc::new(Api::new(server.clone())?);
    let ports = OperatorPorts::open(operator, &crate::health(&api), axum::Router::new()).await?;
    let serving = stop.child_token();
    let running = async {
        let cameras = async {
            let list = read_list(config)?;
            for warning in config.warnings(&list) {
                tracing::warn!("{warning}");
            }
            let result = crate::run(list, server, api, stop.clone()).await;
            serving.cancel();
            result
        };
        tokio::try_join!(cameras, ports.serve(serving.clone()))
    };
    let mut given_up = Vec::new();
    let running = Box::pin(async {
        given_up = running.await?.0;
        Ok(())
    });
    shutdown::within(operator.stop_grace, stop.clone(), running).await?;
    Ok(given_up)
}
