//! Sends sources one after the other, for `sightline push`: how far it is while it runs, a line for each at the end.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use platform::sending::{ABSENT_LIMIT, BUSY_LIMIT};
use platform::{error_line, one_line};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::redact::redact;
use crate::sender::Patience;
use crate::source::SourceConfig;
use crate::source_process::limit_memory;
use crate::status::{Snapshot, Status};
use crate::task::Task;
use crate::video::Watch;
use crate::{progress, reports, run_source};

/// Exit status after a signal, as shells have it.
const INTERRUPTED: u8 = 130;

/// Sends the sources of the task.
///
/// Returns the exit status: 0, 1 if a source failed, 130 after a signal. A line before says why.
///
/// # Errors
/// When the task is not valid.
pub async fn run(stop: CancellationToken) -> anyhow::Result<ExitCode> {
    limit_memory()?;
    let task = Task::from_stdin(&stop)?;
    let patience = match task.patience() {
        Some(limit) => Patience { absent: limit, busy: limit },
        None => Patience { absent: ABSENT_LIMIT, busy: BUSY_LIMIT },
    };
    let api = Api::new(task.server)?;
    let mut failed = false;
    for source in &task.sources {
        let status = Arc::new(Status::default());
        let result = send(&api, source, &status, patience, &stop).await;
        print(source, &status.snapshot(), result.as_ref().err(), task.json);
        if stop.is_cancelled() {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        failed |= result.is_err() || status.snapshot().frames_refused > 0;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn send(
    api: &Api,
    source: &SourceConfig,
    status: &Arc<Status>,
    patience: Patience,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    source.check()?;
    let watch = Arc::new(Watch::new(stop.clone()));
    // Not that of the stop: what was sent until the end is reported after it.
    let ended = CancellationToken::new();
    let (shared, source_of_bar) = (Arc::clone(status), source.clone());
    let bar = progress::show(source_of_bar, Arc::clone(status), ended.clone());
    let running = async {
        let result = run_source(api, source, status, &watch, None, Some(patience)).await;
        ended.cancel();
        result
    };
    let (result, (), ()) =
        tokio::join!(running, bar, reports::report(api, &source.stream, move || shared.snapshot(), &ended, stop));
    result
}

/// One line for a source: what became of its frames.
fn print(source: &SourceConfig, counts: &Snapshot, error: Option<&anyhow::Error>, json: bool) {
    let name = redact(source.url.expose());
    let Snapshot { frames_sent, frames_refused, frames_skipped, frames_dropped, frames_damaged, .. } = counts;
    if let Some(error) = error {
        error_line(redact(&one_line(&format_args!("{name}: {error:#}"))));
    } else if let (Some(reason), true) = (&counts.last_error, *frames_refused > 0) {
        error_line(one_line(&format_args!("{name}: {reason}")));
    }
    let line = if json {
        let (stream, sent, refused) = (&source.stream, frames_sent, frames_refused);
        let error = error.map(|error| redact(&format!("{error:#}")));
        let counts = json!({"source": name, "stream": stream, "frames_sent": sent, "frames_refused": refused,
            "frames_damaged": frames_damaged, "frames_skipped": frames_skipped, "frames_dropped": frames_dropped, "error": error});
        counts.to_string()
    } else {
        let mut line = format!("{name}: {frames_sent} frames acknowledged in stream {}", source.stream);
        for (count, what) in [
            (frames_refused, "refused"),
            (frames_damaged, "damaged"),
            (frames_skipped, "without movement skipped"),
            (frames_dropped, "dropped because the server was too slow"),
        ] {
            if *count > 0 {
                line += &format!(", {count} {what}");
            }
        }
        one_line(&line)
    };
    if error.is_some() && *frames_sent == 0 && !json {
        return;
    }
    // Nobody may read it any more.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}
