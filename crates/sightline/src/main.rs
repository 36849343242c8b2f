//! The `sightline` command: everything in one process, and the tools around it.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod backup;
mod books_command;
mod camera_program;
mod certs;
mod client;
mod config_command;
mod data_dir;
mod demo;
mod dlq;
mod erase;
mod faces_command;
mod migrate;
mod models;
mod out;
mod push;
mod reported;
mod sending;
mod services;
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
    /// Send images, videos, or folders of them, and print the detections; or send the frames of a live camera
    Push(push::Push),
    /// Enrol the faces of people from a folder
    Faces(faces_command::FacesCommand),
    /// List audiobooks, upload their recordings, and put them up for sale; or transcribe recordings without a server
    Books(Box<books_command::BooksCommand>),
    /// Print alerts as they are raised, one JSON object a line
    Watch(watch::Watch),
    /// Create and change topics of a Kafka cluster to match the topics file, or list the differences
    Topics(topics::TopicsCommand),
    /// List dead letters, or send them again
    Dlq(dlq::command::Dlq),
    /// Add users, list them, change their role, limits or password, or disable them
    User(user::User),
    /// Check that nothing has the id of a deleted person
    Erase(erase::Erase),
    /// Migrate accounts and documents to this version
    Migrate(migrate::Migrate),
    /// Copy the data folder to a backup, also while `up` runs
    Backup(backup::Backup),
    /// Make a data folder of a backup, or check the backup
    Restore(backup::restore::Restore),
    /// List models, or download them
    Models(models::Models),
    /// Check the settings, or print those in effect
    #[command(subcommand)]
    Config(config_command::ConfigCommand),
    /// Create certificates to try TLS with
    Certs(certs::Certs),
    /// Send traffic to try the system with
    Demo(demo::Demo),
    /// Ask the service in this container whether it is ready
    Healthcheck(platform::Healthcheck),
}

impl settings::Check for Cli {
    fn check(&self, errors: &mut settings::SettingErrors) {
        match &self.command {
            Command::Up(up) => up.check(errors),
            Command::Config(config) => config.check(errors),
            Command::Demo(demo) => demo.check(errors),
            Command::Faces(faces) => faces.check(errors),
            Command::Books(books) => books.check(errors),
            _ => {}
        }
    }
}

fn main() -> std::process::ExitCode {
    if let Some(ended) = services::run_as_called() {
        return ended;
    }
    let cli: Cli = settings::parse_and_check();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return platform::shutdown::exit(Err(anyhow::anyhow!("no threads to run on: {error}"))),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Up(up) => up.run().await,
            Command::Push(push) => push.run().await,
            Command::Faces(faces) => faces.run().await,
            Command::Books(books) => Box::pin(books.run()).await,
            Command::Watch(watch) => watch.run().await,
            Command::Topics(topics) => topics.run().await,
            Command::Dlq(dlq) => dlq.run().await,
            Command::User(user) => user.run().await,
            Command::Erase(erase) => Box::pin(erase.run()).await,
            Command::Migrate(migrate) => migrate.run().await,
            Command::Backup(backup) => backup.run().await,
            Command::Restore(restore) => restore.run().await,
            Command::Models(models) => models.run().await,
            Command::Config(config) => config.run::<Cli>(),
            Command::Certs(certs) => certs.run(),
            Command::Demo(demo) => demo.run().await,
            Command::Healthcheck(healthcheck) => healthcheck.ask().await.and_then(out::line),
        }
    });
    platform::shutdown::exit(out::ended(done))
}
