//! The `sightline` command: everything in one process, and the tools around it.

mod certs;
mod client;
mod data_dir;
mod dlq;
mod migrate;
mod models;
mod out;
mod push;
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
    /// Run everything in this process, on embedded parts or on servers
    Up(Box<up::Up>),
    /// Send images, or folders of them, and print the detections
    Push(push::Push),
    /// Print alerts as they are raised, one JSON object a line
    Watch(watch::Watch),
    /// Create and change topics of a Kafka cluster to match the topics file, or list the differences
    Topics(topics::TopicsCommand),
    /// List dead letters, or send them again
    Dlq(dlq::command::Dlq),
    /// Add users, list them, change their rights
    User(user::User),
    /// Create or upgrade the tables of accounts for this version
    Migrate(migrate::Migrate),
    /// List models, or download them
    Models(models::Models),
    /// Create certificates to try TLS with
    Certs(certs::Certs),
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
        }
    });
    platform::shutdown::exit(out::ended(done))
}
