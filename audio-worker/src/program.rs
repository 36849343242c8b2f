//! The worker of an installation with Kafka, PostgreSQL and S3. `serve` offers speech to text over HTTP, without any of them.
//!
//! Also a part of the command `sightline`, which runs it under the name of this program.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use bus::{KafkaArgs, KafkaBus};
use clap::{Args, Parser, Subcommand};
use platform::config::OperatorArgs;
use platform::{Process, shutdown};
use settings::{Check, SettingErrors};
use store::relational::Relational;
use store::{DatabaseArgs, MediaArgs, open_media};

use crate::speech::serve::ServeProgram;
use crate::{Config, Deps, SharedArgs};

/// Recordings in; transcripts, descriptions and categories out
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Program {
    #[command(subcommand)]
    engine: Option<Engine>,
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    shared: SharedArgs,
    #[command(flatten)]
    connections: Connections,
    #[command(flatten)]
    operator: OperatorArgs,
}

#[derive(Debug, Args)]
struct Connections {
    #[command(flatten)]
    kafka: KafkaArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    media: MediaArgs,
}

#[derive(Debug, Subcommand)]
enum Engine {
    /// Transcribe for clients of `OpenAI`'s interface: POST /v1/audio/transcriptions
    Serve(Box<ServeProgram>),
}

impl Check for Program {
    fn check(&self, errors: &mut SettingErrors) {
        if let Some(Engine::Serve(serve)) = &self.engine {
            serve.check(errors);
            return;
        }
        errors.collect(self.connections.kafka.group_member_config());
        errors.collect(self.connections.database.url());
        errors.collect(open_media(&self.connections.media));
        self.config.check(errors);
        self.shared.topics.check(errors);
        self.operator.check(errors);
    }
}

/// Reads the settings, connects and runs until a signal.
#[tokio::main]
pub async fn main() -> ExitCode {
    let program: Program = settings::parse_and_check();
    let ended = match program.engine {
        Some(Engine::Serve(serve)) => Box::pin(serve.run()).await,
        None => Box::pin(work(program.config, program.shared, &program.connections, program.operator)).await,
    };
    shutdown::exit(ended)
}

async fn work(
    config: Config,
    shared: SharedArgs,
    connections: &Connections,
    operator: OperatorArgs,
) -> anyhow::Result<()> {
    let process = Process::start(operator)?;
    let Connections { kafka, database, media } = connections;
    let media = open_media(media).context("SIGHTLINE_MEDIA_URL")?;
    // This process is the audio pipeline, whatever SIGHTLINE_AUDIO says.
    let topics = shared.topics.load()?.with_audio(true);
    let bus = Arc::new(KafkaBus::connect(kafka.group_member_config()?, &topics).await?);
    let database = Relational::postgres(database.url()?.expose(), database.database_connections).await?;
    database.check_schema().await?;
    let deps = Deps { traces: process.traces("audio-worker"), ..Deps::new(bus, database, media) };
    let health = crate::health(&deps);
    let running = process.run(&health, async |stop| {
        Box::pin(crate::run(config, shared, deps.clone(), stop)).await?;
        Ok(deps.bus.close().await?)
    });
    running.await
}
