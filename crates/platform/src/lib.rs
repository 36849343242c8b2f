//! What every service needs to be one: configuration, telemetry, shutdown, health, HTTP serving.
//!
//! A service's `main` reads its settings ([`config::parse`]), starts the log ([`telemetry::init`]), connects, and runs the
//! library's `run` until [`shutdown::on_signal`] fires. Nothing here knows what a frame is.

pub mod config;
pub mod health;
pub mod http;
pub mod problem;
pub mod query;
pub mod retry;
pub mod shutdown;
pub mod sse;
pub mod telemetry;

pub use config::{Common, Secret};
pub use health::Health;
