//! Settings of speech to text in this process.

use clap::Args;
use settings::count;

/// The model that is used for English unless another one is set.
pub const ENGLISH: &str = "whisper-tiny.en";
/// The model for other languages unless another one is set.
pub const OTHER_LANGUAGES: &str = "whisper-base";

/// Most sessions without the setting: each needs some 100 MiB.
const MAX_DEFAULT_SESSIONS: usize = 4;

/// Speech to text in this process.
#[derive(Debug, Clone, Args)]
#[group(id = "speech")]
pub struct SpeechArgs {
    /// Windows of recordings that are transcribed at the same time; one per core and at most 4 when not set
    #[arg(long, env = "SIGHTLINE_SPEECH_SESSIONS", value_name = "NUMBER", value_parser = count::<usize>(1..=1024))]
    pub speech_sessions: Option<usize>,

    /// Threads that transcribe one window. More of them give a window sooner, and fewer windows in the same time
    #[arg(long, env = "SIGHTLINE_SPEECH_THREADS", default_value_t = 1, value_name = "NUMBER",
        value_parser = count::<usize>(1..=256))]
    pub speech_threads: usize,

    /// Model for English
    #[arg(long, env = "SIGHTLINE_SPEECH_MODEL", default_value = ENGLISH, value_name = "MODEL")]
    pub speech_model: String,

    /// Model for other languages, and for recordings whose language is not known, if its file is installed
    #[arg(long, env = "SIGHTLINE_SPEECH_OTHER_MODEL", default_value = OTHER_LANGUAGES, value_name = "MODEL")]
    pub speech_other_model: String,
}

impl Default for SpeechArgs {
    fn default() -> Self {
        Self {
            speech_sessions: None,
            speech_threads: 1,
            speech_model: ENGLISH.to_owned(),
            speech_other_model: OTHER_LANGUAGES.to_owned(),
        }
    }
}

impl SpeechArgs {
    /// Windows that are transcribed at the same time.
    pub fn sessions(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.speech_sessions.unwrap_or_else(|| cores.div_ceil(self.speech_threads).min(MAX_DEFAULT_SESSIONS))
    }
}
