//! `sightline books`: recordings, without a server.

mod transcribe;

use audio_worker::speech::serve::ServeProgram;
use clap::{Args, Subcommand};
use settings::{Check, SettingErrors};

/// Transcribes recordings on this machine, and for clients
#[derive(Debug, Args)]
pub struct Books {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write down what is said in audio files; the same command again goes on where it was
    // Without it, the usage of an error names options that are set in the environment as if they were required.
    #[command(override_usage = "sightline books transcribe [OPTIONS] <FILE>...")]
    Transcribe(Box<transcribe::Transcribe>),
    /// Transcribe for clients of `OpenAI`'s interface: POST /v1/audio/transcriptions
    Serve(Box<ServeProgram>),
}

impl Check for Books {
    fn check(&self, errors: &mut SettingErrors) {
        match &self.action {
            Action::Transcribe(transcribe) => transcribe.check(errors),
            Action::Serve(serve) => serve.check(errors),
        }
    }
}

impl Books {
    /// Runs the command and prints what it did.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Transcribe(transcribe) => transcribe.run().await,
            Action::Serve(serve) => serve.run().await,
        }
    }
}
