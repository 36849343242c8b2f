//! Videos that FFmpeg's own encoders make here, and videos of the samples, to a server that remembers what it gets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod bad_input;
mod clips;
mod frames;
mod healthcheck;
mod hls;
mod hostile;
mod lists;
mod live;
mod server;
mod still_scenes;
mod stops;
mod terminal;
