//! A process for each source, so that a decoder that crashes or hangs takes no other camera with it.
//!
//! The process gets its source on standard input, and so neither its arguments nor its environment have a credential: of this process's
//! environment it gets only few variables. It reports its state each second on standard output. A process that ends is
//! started again, with growing pauses; one that reports nothing for half a minute, or without end, is killed. A recording that
//! fails is not tried again. The end of standard input stops the process, also if this one was killed.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use contracts::api::ReportedState;
use platform::child_environment;
use platform::retry::Backoff;
use tokio::io::{AsyncBufRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Server};
use crate::lines::Lines;
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

/// Runs one source in a process of its own until `stop`, or until a recording is at its end; returns whether a recording was given up.
pub async fn supervise(server: &Server, api: &Api, source: &SourceConfig, stop: &CancellationToken) -> bool {
    let last = Arc::new(Mutex::new(Status::default().snapshot()));
    // Not that of the stop: the last report is made after the process has told its last counts.
    let (shared, ended) = (Arc::clone(&last), CancellationToken::new());
    let snapshot = move || shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let running = async {
        let is_given_up = keep_running(server, source, &last, stop).await;
        ended.cancel();
        is_given_up
    };
    tokio::join!(running, reports::report(api, &source.stream, snapshot, &ended, stop)).0
}

/// Returns whether a recording was given up.
async fn keep_running(
    server: &Server,
    source: &SourceConfig,
    last: &Mutex<Snapshot>,
    stop: &CancellationToken,
) -> bool {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let is_recording = is_recording(source);
    loop {
        let begun = Instant::now();
        let before = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ended = run_once(server, source, &before, last, stop).await;
        if stop.is_cancelled() {
            return false;
        }
        let state = last.lock().unwrap_or_else(PoisonError::into_inner).state;
        let reason = match ended {
            // Also a signal ends it with success, but not its source.
            Ok(status) if status.success() && state == ReportedState::Ended => return false,
            // A recording is no better the next time.
            Ok(status) if status.code() == Some(FAILED) && is_recording => {
                let path = source.shown();
                tracing::error!(stream = %source.stream, "{path} was not sent to its end; it is not tried again");
                return true;
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
            return false;
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
    let mut lines = Lines::new(BufReader::new(output));
    let is_recording = is_recording(source);
    let keep = |now: Snapshot| {
        *last.lock().unwrap_or_else(PoisonError::into_inner) = counted(now, before, is_recording);
    };
    if let Some(Err(fault)) = stop.run_until_cancelled(listen(&mut lines, SILENCE, keep)).await {
        child.kill().await?;
        anyhow::bail!("its process {fault}, and was killed");
    }
    drop(input);
    // It tells its last counts on the way out.
    let ending = async {
        listen(&mut lines, SILENCE, keep)
            .await
            .map_err(|fault| anyhow::anyhow!("its process {fault}, and was killed"))?;
        Ok(child.wait().await?)
    };
    let ended = tokio::time::timeout(GRACE, ending).await;
    let ended = ended.unwrap_or_else(|_| Err(anyhow::anyhow!("its process did not end, and was killed")));
    if ended.is_err() {
        child.kill().await?;
    }
    ended
}

fn is_recording(source: &SourceConfig) -> bool {
    source.address().is_ok_and(|address| !address.is_live())
}

/// What a source has done with all its processes. A recording is sent from its beginning again, with the same keys, so only the process
/// that came furthest counts: a frame is counted once.
fn counted(mut now: Snapshot, before: &Snapshot, is_recording: bool) -> Snapshot {
    if !is_recording {
        return now.after(before);
    }
    now.last_error = now.last_error.or_else(|| before.last_error.clone());
    if done(&now) >= done(before) {
        return now;
    }
    let Snapshot { state, since, password_refused, last_error, .. } = now;
    Snapshot { state, since, password_refused, last_error, ..before.clone() }
}

/// Frames of which it is known what became of them.
fn done(counts: &Snapshot) -> u64 {
    let Snapshot { frames_sent, frames_skipped, frames_dropped, frames_refused, .. } = counts;
    [frames_sent, frames_skipped, frames_dropped, frames_refused].into_iter().sum()
}

/// Whether the counts are such as a source can have.
fn is_possible(counts: &Snapshot) -> bool {
    let Snapshot { frames_decoded, frames_sent, frames_skipped, frames_dropped, .. } = counts;
    let rest = [&counts.frames_refused, &counts.frames_damaged];
    [frames_decoded, frames_sent, frames_skipped, frames_dropped].into_iter().chain(rest).all(|count| *count < 1 << 48)
}

fn start(source: &SourceConfig) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args(["source", source.stream.as_str()]).env_clear();
    command.envs(child_environment());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command.spawn()?)
}

/// Hands over each state that the process reports, until its end.
///
/// # Errors
/// When it reports no state for `silence`, or a line without end: it may have been taken over by what a camera sent.
async fn listen(
    lines: &mut Lines<impl AsyncBufRead + Unpin>,
    silence: Duration,
    keep: impl Fn(Snapshot),
) -> Result<(), &'static str> {
    let mut deadline = tokio::time::Instant::now() + silence;
    loop {
        let line = match tokio::time::timeout_at(deadline, lines.next()).await {
            Err(_) => return Err("hung"),
            Ok(Err(_)) => return Err("reported without end"),
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(line))) => line,
        };
        if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(&line)
            && is_possible(&snapshot)
        {
            keep(snapshot);
            deadline = tokio::time::Instant::now() + silence;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn counts(sent: u64, dropped: u64) -> Snapshot {
        let frames_decoded = sent + dropped;
        Snapshot { frames_decoded, frames_sent: sent, frames_dropped: dropped, ..Status::default().snapshot() }
    }

    #[test]
    fn a_recording_that_is_sent_again_counts_each_frame_once() {
        let numbers = |now: Snapshot| (now.frames_decoded, now.frames_sent, now.frames_dropped);
        // It was killed after 40 of 100 frames.
        let before = Snapshot { last_error: Some("killed".to_owned()), ..counts(38, 2) };
        assert_eq!(numbers(counted(counts(10, 0), &before, true)), (40, 38, 2));
        assert_eq!(numbers(counted(counts(40, 0), &before, true)), (40, 40, 0));
        let ended = Snapshot { state: ReportedState::Ended, ..counts(100, 0) };
        let ended = counted(ended, &before, true);
        assert_eq!((ended.state, ended.last_error.as_deref()), (ReportedState::Ended, Some("killed")));
        assert_eq!(numbers(ended), (100, 100, 0));
        // A camera goes on.
        assert_eq!(numbers(counted(counts(10, 1), &before, false)), (51, 48, 3));
    }

    #[tokio::test]
    async fn a_process_that_reports_without_end_is_a_crash() {
        let endless = BufReader::new(tokio::io::repeat(b'x'));
        assert_eq!(listen(&mut Lines::new(endless), SILENCE, |_| ()).await, Err("reported without end"));
        let line = |counts: &Snapshot| serde_json::to_string(counts).unwrap();
        let text =
            format!("{}\nnonsense\n{}\n{}\n", line(&counts(1, 0)), line(&counts(1 << 60, 0)), line(&counts(2, 0)));
        let kept = RefCell::new(Vec::new());
        let heard =
            listen(&mut Lines::new(text.as_bytes()), SILENCE, |now| kept.borrow_mut().push(now.frames_sent)).await;
        assert_eq!((heard, kept.into_inner()), (Ok(()), vec![1, 2]));
    }

    #[tokio::test]
    async fn a_process_that_reports_only_nonsense_is_silent() {
        let (mut output, input) = tokio::io::duplex(64);
        let silence = Duration::from_millis(200);
        tokio::spawn(async move {
            while output.write_all(b"nonsense\n").await.is_ok() {
                tokio::time::sleep(silence / 10).await;
            }
        });
        assert_eq!(listen(&mut Lines::new(BufReader::new(input)), silence, |_| ()).await, Err("hung"));
    }
}
