//! Tells the server the state of a stream, every few seconds and at the end.

use std::time::{Duration, Instant};

use contracts::StreamName;
use jiff::Timestamp;
use reqwest::StatusCode;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::status::{Snapshot, State};

/// Pause between reports.
const PERIOD: Duration = Duration::from_secs(5);
/// Time limit of the last report.
const LAST: Duration = Duration::from_secs(3);

/// The body of `PUT /v1/streams/{name}/state`.
#[derive(Debug, Serialize)]
struct Report {
    state: State,
    since: Timestamp,
    frames_per_second: f64,
    frames_sent: u64,
    frames_skipped: u64,
    frames_dropped: u64,
    last_error: Option<String>,
}

/// Reports what `snapshot` returns until `stop`, and once more after it.
pub async fn report(api: &Api, stream: &StreamName, snapshot: impl Fn() -> Snapshot, stop: &CancellationToken) {
    let mut reporter = Reporter { api, stream, is_known: true, last: (Instant::now(), snapshot().frames_sent) };
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        reporter.report(snapshot()).await;
    }
    // A server that does not answer must not hold up the end.
    drop(tokio::time::timeout(LAST, reporter.report(snapshot())).await);
}

struct Reporter<'a> {
    api: &'a Api,
    stream: &'a StreamName,
    /// Whether the server knows the route. Older servers do not.
    is_known: bool,
    last: (Instant, u64),
}

impl Reporter<'_> {
    async fn report(&mut self, snapshot: Snapshot) {
        if !self.is_known {
            return;
        }
        let (at, sent) = self.last;
        let frames_per_second =
            (snapshot.frames_sent.saturating_sub(sent)) as f64 / at.elapsed().as_secs_f64().max(0.001);
        self.last = (Instant::now(), snapshot.frames_sent);
        let report = Report {
            state: snapshot.state,
            since: snapshot.since,
            frames_per_second: (frames_per_second * 100.0).round() / 100.0,
            frames_sent: snapshot.frames_sent,
            frames_skipped: snapshot.frames_skipped,
            frames_dropped: snapshot.frames_dropped,
            last_error: snapshot.last_error,
        };
        match self.api.report(self.stream, &report).await {
            Ok(StatusCode::NOT_FOUND) => {
                self.is_known = false;
                tracing::info!(stream = %self.stream, "the server is of an older version and has no states of streams");
            }
            Ok(status) if status.is_success() => {}
            Ok(status) => tracing::debug!(stream = %self.stream, "the server refuses the state: {status}"),
            Err(error) => tracing::debug!(stream = %self.stream, "the state was not reported: {error}"),
        }
    }
}
