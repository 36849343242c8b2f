//! Tells the server the state of a stream, every few seconds and at the end.

use std::time::{Duration, Instant};

use contracts::StreamName;
use contracts::api::StreamReport;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::status::Snapshot;

/// Pause between reports.
const PERIOD: Duration = Duration::from_secs(5);
/// Time limit of the last report.
const LAST: Duration = Duration::from_secs(3);

/// Reports what `snapshot` returns until `stop`, and once more after it.
pub async fn report(api: &Api, stream: &StreamName, snapshot: impl Fn() -> Snapshot, stop: &CancellationToken) {
    let mut reporter =
        Reporter { api, stream, is_known: true, is_refused: false, last: (Instant::now(), snapshot().frames_sent) };
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
    /// Whether the server refused the last report.
    is_refused: bool,
    /// When the last report was made, and how many frames were sent by then.
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
        let report = StreamReport {
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
            Ok(status) if status.is_success() => self.is_refused = false,
            Ok(status) => {
                if !std::mem::replace(&mut self.is_refused, true) {
                    tracing::warn!(stream = %self.stream, "the server refuses the state of the stream: {status}");
                }
            }
            Err(error) => tracing::debug!(stream = %self.stream, "the state was not reported: {error}"),
        }
    }
}
