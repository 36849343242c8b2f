//! The process of one source. It tells its state each second, as long as its thread lives, and before each frame: the process that may
//! follow it begins after the capture time of the last one.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::run_source;
use crate::status::Status;
use crate::task::Task;
use crate::video::Watch;

/// Pause between two lines.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest time that the thread may be silent: the look-up of a name is the longest wait that cannot be interrupted.
const SILENCE: Duration = Duration::from_secs(60);

/// Most memory of a process, so that a video which pretends to be huge ends its own process only.
const MEMORY: u64 = 2 << 30;

/// Limits the memory of this process.
///
/// # Errors
/// When the system refuses.
pub fn limit_memory() -> anyhow::Result<()> {
    rlimit::Resource::DATA.set(MEMORY, MEMORY).context("its memory cannot be limited")
}

/// Runs the source of the task until its end, the stop, or the end of standard input.
///
/// # Errors
/// When a recording cannot be read.
pub async fn run(stop: CancellationToken) -> anyhow::Result<()> {
    limit_memory()?;
    let mut task = Task::from_stdin(&stop)?;
    let source = task.sources.pop().context("the task has no source")?;
    let api = Api::new(task.server)?;
    let (status, watch) = (Arc::new(Status::announced_by(write)), Arc::new(Watch::new(stop)));
    let result = tokio::select! {
        result = run_source(&api, &source, &status, &watch, task.captured_after, None) => result,
        () = tell(&status, &watch) => Ok(()),
    };
    write(&status);
    result.with_context(|| format!("{}: {}", source.stream, source.shown()))
}

/// Writes the state each second. A thread that hangs makes it silent, and the supervisor ends the process.
async fn tell(status: &Status, watch: &Watch) {
    loop {
        if watch.silence() < SILENCE {
            write(status);
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn write(status: &Status) {
    let mut line = serde_json::to_vec(&status.snapshot()).unwrap_or_default();
    line.push(b'\n');
    // A supervisor that is gone also closes standard input, which stops this process.
    drop(std::io::stdout().lock().write_all(&line));
}
