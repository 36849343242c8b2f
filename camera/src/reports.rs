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
/// Time limit of a report. The next one says all that it said, and a server that does not answer must not hold up the end.
const LIMIT: Duration = Duration::from_secs(3);
/// Time limit of the last report, with which a busy server is asked again: no later one says what it said.
const LAST_LIMIT: Duration = Duration::from_secs(10);

/// Reports what `snapshot` returns until the source has ended, and once more after it, with what it did in all: after `stop`, that the
/// source was stopped, and after a failure, that it was given up.
pub async fn report(
    api: &Api,
    stream: &StreamName,
    snapshot: impl Fn() -> Snapshot,
    ended: &CancellationToken,
    stop: &CancellationToken,
) {
    let snapshot = || match (stop.is_cancelled(), ended.is_cancelled()) {
        (true, _) => snapshot().stopped(),
        (false, true) => snapshot().given_up(),
        (false, false) => snapshot(),
    };
    report_each(PERIOD, api, stream, snapshot, ended).await;
}

async fn report_each(
    period: Duration,
    api: &Api,
    stream: &StreamName,
    snapshot: impl Fn() -> Snapshot,
    ended: &CancellationToken,
) {
    let mut reporter =
        Reporter { api, stream, is_known: true, is_refused: false, last: (Instant::now(), snapshot().frames_sent) };
    while ended.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
        let reporting = tokio::time::timeout(LIMIT, reporter.report(snapshot()));
        if ended.run_until_cancelled(reporting).await.is_none() {
            break;
        }
    }
    let last = async {
        while let Ok(Some(pause)) = tokio::time::timeout(LIMIT, reporter.report(snapshot())).await {
            tokio::time::sleep(pause).await;
        }
    };
    if tokio::time::timeout(LAST_LIMIT, last).await.is_err() {
        tracing::warn!(%stream, "the server is too busy for the last state of the stream");
    }
}

struct Reporter<'a> {
    api: &'a Api,
    stream: &'a StreamName,
    /// Whether the server knows the route. Older servers do not.
    is_known: bool,
    /// Whether the server refused the last report.
    is_refused: bool,
    /// When the last report arrived, and how many frames were sent by then.
    last: (Instant, u64),
}

impl Reporter<'_> {
    /// Reports once; returns the pause after which a busy server wants it again.
    async fn report(&mut self, snapshot: Snapshot) -> Option<Duration> {
        if !self.is_known {
            return None;
        }
        let (at, sent) = self.last;
        let frames_per_second =
            (snapshot.frames_sent.saturating_sub(sent)) as f64 / at.elapsed().as_secs_f64().max(0.001);
        let now = (Instant::now(), snapshot.frames_sent);
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
            Ok((StatusCode::NOT_FOUND, _)) => {
                self.is_known = false;
                tracing::info!(stream = %self.stream, "the server is of an older version and has no states of streams");
            }
            Ok((status, _)) if status.is_success() => (self.is_refused, self.last) = (false, now),
            // The next report says all that this one says.
            Ok((status, Some(pause))) => {
                tracing::debug!(stream = %self.stream, "the server is too busy for the state of the stream: {status}");
                return Some(pause);
            }
            Ok((status, None)) => {
                if !std::mem::replace(&mut self.is_refused, true) {
                    tracing::warn!(stream = %self.stream, "the server refuses the state of the stream: {status}");
                }
            }
            Err(error) => tracing::debug!(stream = %self.stream, "the state was not reported: {error}"),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use settings::Secret;

    use super::*;
    use crate::api::Server;
    use crate::status::Status;

    #[tokio::test]
    async fn a_server_that_does_not_answer_does_not_hold_up_the_end() {
        // The system accepts the connection, and nobody reads from it.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let token: Secret = "a-token-of-the-test".parse().unwrap();
        let api = Api::new(Server { url, token: token.into(), cacert: None, cert: None, key: None }).unwrap();
        let (status, ended) = (Status::default(), CancellationToken::new());
        let stream = "gate".parse().unwrap();
        let reporting = report_each(Duration::from_millis(10), &api, &stream, || status.snapshot(), &ended);
        let ending = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            ended.cancel();
            Instant::now()
        };
        let ((), cancelled) = tokio::join!(reporting, ending);
        assert!(cancelled.elapsed() < LIMIT + Duration::from_secs(2), "{:?}", cancelled.elapsed());
    }
}
