//! Runtime of a service: log, metrics and traces, shutdown, health, HTTP serving.
//!
//! A service's `main` reads its settings ([`settings::parse_and_check`]), starts its [`Process`], connects, and runs the library's
//! `run` in the process until a signal. This crate does not depend on frames, detectors or accounts.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(not(fuzzing))]
mod allocator;
mod child_environment;
pub mod config;
mod error_chain;
pub mod health;
mod healthcheck;
pub mod http;
mod one_line;
pub mod pem_files;
pub mod problem;
mod process;
pub mod query;
pub mod retry;
pub mod sending;
pub mod shutdown;
pub mod sse;
mod stderr;
pub mod telemetry;
pub mod traces;
mod user_cache;

pub use child_environment::child_environment;
pub use error_chain::{error_chain, root_cause};
pub use health::{CheckResult, Health};
pub use healthcheck::Healthcheck;
pub use one_line::one_line;
pub use process::Process;
pub use stderr::{error_line, print_lines_within};
pub use user_cache::user_cache;
