//! Speech to text in this process: Silero VAD finds speech, Whisper writes it down, a gate refuses what nobody said.
//!
//! ```text
//! file ──▶ sound: 16 kHz ──▶ Vad: spans with speech ──▶ media: windows of at most a minute
//! window ──▶ Engine: Whisper ──▶ gate ──▶ words, with a flag if they are doubtful ──▶ Transcript
//! ```
//!
//! Whisper invents sentences for silence, so it never hears any: a window has speech in it and no long pause. Windows do not depend on each
//! other, so they may be transcribed in any order, by several processes, and again after a crash, with the same words.
//!
//! [`Engine`] is used by the worker, by the [server](serve) for clients of `OpenAI`'s interface, and by the [command](mod@file) that
//! transcribes a file without any service.

mod args;
mod checkpoints;
mod cpu;
mod engine;
mod error;
pub mod file;
pub mod gate;
mod heard;
pub mod recording;
pub mod serve;
mod slot;
mod spans;
mod vad;
mod whisper;

pub use args::{ENGLISH, OTHER_LANGUAGES, SpeechArgs};
pub use cpu::{CpuError, check_cpu};
pub use engine::{Engine, Judged, SpeechOptions};
pub use error::SpeechError;
pub use heard::{Heard, HeardSegment, HeardWord, Measures};
pub use models::FolderArgs;
pub use onnx::OnnxArgs;
pub use slot::EngineModel;
pub use vad::{Activity, Listening, Vad};
