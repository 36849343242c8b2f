//! What a process is to do, as it gets it on standard input: one line of JSON. `sightline push` writes the same.

use std::io::BufRead;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::api::Server;
use crate::redact::redact;
use crate::source::SourceConfig;

/// Sources, and where their frames go.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The server.
    pub server: Server,
    /// The sources, in their order.
    pub sources: Vec<SourceConfig>,
    /// Whether results are printed as JSON.
    #[serde(default)]
    pub json: bool,
    /// How long to wait for a server that accepts nothing; the default of `push` when not set.
    #[serde(default)]
    pub patience_seconds: Option<u64>,
    /// Capture time of the last frame of an earlier process of the source. Those of this one are later.
    #[serde(default)]
    pub captured_after: Option<Timestamp>,
}

impl Task {
    /// Reads the task. From then on, the end of standard input cancels `stop`: the program that wrote the task has ended.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn from_stdin(stop: &CancellationToken) -> anyhow::Result<Self> {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).context("no task on standard input")?;
        stop_at_end_of_stdin(stop);
        serde_json::from_str(&line).map_err(|error| anyhow::anyhow!("the task: {}", redact(&error.to_string())))
    }

    /// The time limit for a server that accepts nothing.
    pub fn patience(&self) -> Option<Duration> {
        self.patience_seconds.map(Duration::from_secs)
    }
}

/// Cancels `stop` at the end of standard input: the program at its other end has ended, also if it was killed.
pub fn stop_at_end_of_stdin(stop: &CancellationToken) {
    let stop = stop.clone();
    // Not a task of the runtime, which would wait for this read at its end.
    std::thread::spawn(move || {
        drop(std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink()));
        stop.cancel();
    });
}
