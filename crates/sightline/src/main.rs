//! The `sightline` command: everything in one process, and the tools around it.

mod bench;
mod certs;
mod client;
mod data_dir;
mod dlq;
mod migrate;
mod models;
mod out;
mod push;
mod sse;
mod topics;
mod up;
mod user;
mod watch;

use clap::{Parser, Subcommand};

/// Frames in, alerts out: an event-driven vision backend
#[derive(Debug, Parser)]
#[command(name = "sightline", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in this process: embedded parts, or the servers that are set
    Up(Box<up::Up>),
    /// Send images, or folders of them, and print what was seen
    Push(push::Push),
    /// Print alerts as they are raised, one JSON object a line
    Watch(watch::Watch),
    /// Make a Kafka cluster agree with the topics file, or say where it does not
    Topics(topics::TopicsCommand),
    /// List what could never be processed, or send it again
    Dlq(dlq::command::Dlq),
    /// Add users, list them, change what they may
    User(user::User),
    /// Make the accounts' tables what this version needs
    Migrate(migrate::Migrate),
    /// List models, or fetch them
    Models(models::Models),
    /// Make certificates to try TLS with
    Certs(certs::Certs),
    /// Measure speed and memory on this machine
    Bench(Box<bench::Bench>),
}

fn main() -> std::process::ExitCode {
    let cli: Cli = platform::config::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return platform::shutdown::exit(Err(anyhow::anyhow!("no threads to run on: {error}"))),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Up(up) => up.run().await,
            Command::Push(push) => push.run().await,
            Command::Watch(watch) => watch.run().await,
            Command::Topics(topics) => topics.run().await,
            Command::Dlq(dlq) => dlq.run().await,
            Command::User(user) => user.run().await,
            Command::Migrate(migrate) => migrate.run().await,
            Command::Models(models) => models.run().await,
            Command::Certs(certs) => certs.run(),
            Command::Bench(bench) => bench.run().await,
        }
    });
    platform::shutdown::exit(out::ended(done))
}
