//! A process for each source, so that a decoder that crashes or hangs takes no other camera with it.
//!
//! The process gets its source on standard input, and so neither its arguments nor its environment have a credential: of this process's
//! environment it gets only few variables. It reports its state each second on standard output. A process that ends is
//! started again, with growing pauses; one that reports nothing for half a minute is killed. A recording that fails is not tried again. The
//! end of standard input stops the process, also if this one was killed.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use contracts::api::ReportedState;
use platform::child_environment;
use platform::retry::Backoff;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Server};
use crate::reports;
use crate::source::SourceConfig;
use crate::status::{Snapshot, Status};
use crate::task::Task;

/// Time without a line after which a process is killed.
const SILENCE: Duration = Duration::from_secs(30);
/// Time that a process has to end after the stop.
const GRACE: Duration = Duration::from_secs(10);
/// Pauses before a process is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Least time between two tries with a password that was refused, also of two processes.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// Exit status of a process whose source cannot be read.
const FAILED: i32 = 1;

/// Runs one source in a process of its own until `stop`, or until a recording is at its end.
pub async fn supervise(server: &Server, api: &Api, source: &SourceConfig, stop: &CancellationToken) {
    let last = Arc::new(Mutex::new(Status::default().snapshot()));
    // Not that of the stop: the last report is made after the process has told its last counts.
    let (shared, ended) = (Arc::clone(&last), CancellationToken::new());
    let snapshot = move || shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let running = async {
        keep_running(server, source, &last, stop).await;
        ended.cancel();
    };
    tokio::join!(running, reports::report(api, &source.stream, snapshot, &ended, stop));
}

async fn keep_running(server: &Server, source: &SourceConfig, last: &Mutex<Snapshot>, stop: &CancellationToken) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let is_recording = source.address().is_ok_and(|address| !address.is_live());
    loop {
        let begun = Instant::now();
        let before = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ended = run_once(server, source, &before, last, stop).await;
        if stop.is_cancelled() {
            return;
        }
        let state = last.lock().unwrap_or_else(PoisonError::into_inner).state;
        let reason = match ended {
            // Also a signal ends it with success, but not its source.
            Ok(status) if status.success() && state == ReportedState::Ended => return,
            // A recording is no better the next time.
            Ok(status) if status.code() == Some(FAILED) && is_recording => {
                tracing::error!(stream = %source.stream, "the recording was not sent to its end; it is not tried again");
                return;
            }
            Ok(status) => format!("its process ended: {status}"),
            Err(error) => format!("{error:#}"),
        };
        if begun.elapsed() > SILENCE {
            backoff.reset();
        }
        let mut pause = backoff.pause();
        {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.password_refused {
                pause = pause.max(REFUSED_PAUSE);
            }
            // What the process reported is the cause.
            if last.state != ReportedState::Failed {
                (last.state, last.since) = (ReportedState::Failed, jiff::Timestamp::now());
                last.last_error = Some(reason.clone());
            }
        }
        let seconds = pause.as_secs_f32().ceil();
        tracing::warn!(stream = %source.stream, "{reason}; starting it again in {seconds} s");
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Runs the process once.
async fn run_once(
    server: &Server,
    source: &SourceConfig,
    before: &Snapshot,
    last: &Mutex<Snapshot>,
    stop: &CancellationToken,
) -> anyhow::Result<ExitStatus> {
    let mut child = start(source).context("its process cannot be started")?;
    let mut input = child.stdin.take().context("no standard input")?;
    let output = child.stdout.take().context("no standard output")?;
    let (server, sources, captured_after) = (server.clone(), vec![source.clone()], before.last_captured_at);
    let task = Task { server, sources, json: false, patience_seconds: None, captured_after };
    let mut document = serde_json::to_vec(&task)?;
    document.push(b'\n');
    input.write_all(&document).await.context("its process ended at once")?;
    let mut lines = BufReader::new(output).lines();
    let listening = listen(&mut lines, before, last);
    let is_silent = stop.run_until_cancelled(listening).await.unwrap_or(false);
    if is_silent {
        child.kill().await?;
        anyhow::bail!("its process hung, and was killed");
    }
    drop(input);
    // It tells its last counts on the way out.
    let ending = async {
        listen(&mut lines, before, last).await;
        child.wait().await
    };
    match tokio::time::timeout(GRACE, ending).await {
        Ok(status) => Ok(status?),
        Err(_) => {
            child.kill().await?;
            anyhow::bail!("its process did not end, and was killed")
        }
    }
}

fn start(source: &SourceConfig) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args(["source", source.stream.as_str()]).env_clear();
    command.envs(child_environment());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command.spawn()?)
}

/// Keeps the last state that the process reported; returns whether it fell silent, and `false` after its end.
async fn listen(lines: &mut Lines<BufReader<ChildStdout>>, before: &Snapshot, last: &Mutex<Snapshot>) -> bool {
    loop {
        let line = match tokio::time::timeout(SILENCE, lines.next_line()).await {
            Err(_) => return true,
            Ok(Ok(Some(line))) => line,
            Ok(_) => return false,
        };
        if let Ok(snapshot) = serde_json::from_str::<Snapshot>(&line) {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = snapshot.after(before);
        }
    }
}
