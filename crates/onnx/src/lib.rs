//! ONNX Runtime for every crate that runs a network: `vision` for images, `text` for sentences, audio-worker for voices.
//!
//! ```text
//!  OnnxArgs ──▶ SessionOptions ──▶ Runtime ──▶ session, one for each thread
//!                                  one for each process
//! ```
//!
//! In: the settings of the library and the hardware ([`OnnxArgs`]), and a model file whose hash was checked. Out: sessions, and the
//! [`VoiceDetector`], whose network needs no further preparation.
//!
//! Guarantees: the library is loaded once in a process. An execution provider that is not available is an error, never a silent fallback.
//! Errors name the setting and the remedy. No other crate depends on `ort`; those that fill its tensors use it as [`ort`] of this crate.

mod args;
mod runtime;
mod voice;

pub use args::OnnxArgs;
pub use ort;
pub use runtime::{ExecutionProvider, Runtime, RuntimeError, SessionOptions};
pub use voice::VoiceDetector;
