//! Settings of the worker.

use bus::TopicArgs;
use clap::Args;
use models::FolderArgs;
use onnx::OnnxArgs;
use settings::{Check, SettingErrors, count};

use crate::providers::ProviderArgs;
use crate::speech::SpeechArgs;

/// The worker's settings.
#[derive(Debug, Clone, Args)]
#[group(id = "audio-worker")]
pub struct Config {
    /// Speech to text in this process.
    #[command(flatten)]
    pub speech: SpeechArgs,

    /// The providers that transcribe and describe.
    #[command(flatten)]
    pub providers: ProviderArgs,

    /// Windows and steps of books that this worker has at the same time, most of which wait for a provider; a window needs some 5 MiB
    #[arg(long, env = "SIGHTLINE_AUDIO_TASKS", default_value_t = 8, value_name = "NUMBER",
        value_parser = count::<usize>(1..=256))]
    pub audio_tasks: usize,
}

/// Settings that other services in the process have too.
#[derive(Debug, Clone, Args)]
#[group(id = "audio-worker-shared")]
pub struct SharedArgs {
    /// Topics of the log.
    #[command(flatten)]
    pub topics: TopicArgs,

    /// The folder of the models.
    #[command(flatten)]
    pub folder: FolderArgs,

    /// ONNX Runtime.
    #[command(flatten)]
    pub onnx: OnnxArgs,
}

/// Checks that the file of providers is valid.
impl Check for Config {
    fn check(&self, errors: &mut SettingErrors) {
        self.providers.check(errors);
    }
}
