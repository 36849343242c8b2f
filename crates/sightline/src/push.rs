//! `sightline push`: sends images, and folders of them, waits for the results, and prints a line for each.
//!
//! Every file has its own idempotency key, so that a retry after a lost response creates no second frame.

mod images;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use contracts::api::{FrameAccepted, FrameView, ResultStatus};
use contracts::{DetectorName, StreamName};
use futures::StreamExt;
use futures::stream::BoxStream;
use indicatif::{ProgressBar, ProgressStyle};
use platform::retry::Backoff;
use reqwest::StatusCode;
use tokio_stream::wrappers::IntervalStream;
use uuid::Uuid;

use self::images::{Images, media_type};
use crate::client::{Client, ClientArgs, ErrorResponse, read_error};
use crate::out;

/// Sends images, or folders of them, and prints the detections
#[derive(Debug, Args)]
pub struct Push {
    /// Images (JPEG, PNG, WebP), or folders of them
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    client: ClientArgs,

    /// Stream of the frames; the files are then sent one at a time, in the given order, and sorted by name within a folder
    #[arg(long, value_name = "NAME")]
    stream: Option<StreamName>,

    /// Frames per second [default: as fast as the server accepts them]
    #[arg(long, value_name = "NUMBER")]
    fps: Option<f64>,

    /// Detectors to run [default: the server's choice]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    detectors: Vec<DetectorName>,

    /// Do not wait for results
    #[arg(long)]
    no_wait: bool,

    /// Print results as JSON, one object a line
    #[arg(long)]
    json: bool,

    /// Give up after this many seconds [default: 15 if the server does not answer; 300 if it is busy or has no results yet]
    #[arg(long, alias = "patience", value_name = "SECONDS")]
    wait: Option<u64>,
}

/// Number of files sent concurrently, without a stream.
const CONCURRENCY: usize = 8;
/// Seconds that a request asks the server to wait for results.
const PREFER_WAIT: u64 = 10;
/// Time limits without `--wait`: for a server that does not answer, and for a file that the server refuses or still processes.
const ABSENT_LIMIT: Duration = Duration::from_secs(15);
const BUSY_LIMIT: Duration = Duration::from_secs(300);

/// The result of sending a file.
enum Sent {
    Accepted(FrameAccepted),
    Seen(Box<FrameView>),
}

/// The server did not answer within the time limit: the other files would fail too.
#[derive(Debug, thiserror::Error)]
#[error("gave up after {} s: {reason}", .waited.as_secs())]
struct ServerAbsent {
    waited: Duration,
    reason: String,
}

/// A failure that a retry may overcome.
enum Failure {
    /// The server refused and requested this pause.
    Refused(Duration, String),
    /// No answer came.
    Unanswered(String),
}

/// The time limits of one file.
struct Deadline {
    started: Instant,
    busy: Duration,
    absent: Duration,
    /// Time of the first failure without an answer since the server last answered.
    unanswered_since: Option<Instant>,
}

impl Deadline {
    fn new(wait: Option<u64>) -> Self {
        let wait = wait.map(Duration::from_secs);
        let (busy, absent) = (wait.unwrap_or(BUSY_LIMIT), wait.unwrap_or(ABSENT_LIMIT));
        Self { started: Instant::now(), busy, absent, unanswered_since: None }
    }

    /// Waits before a retry, at least `pause`.
    ///
    /// # Errors
    /// When the time limit would pass meanwhile; `ServerAbsent` if the server did not answer.
    async fn wait(&mut self, failure: Failure, pause: Duration) -> anyhow::Result<()> {
        let now = Instant::now();
        let pause = match failure {
            Failure::Refused(requested, reason) => {
                self.unanswered_since = None;
                let pause = pause.max(requested);
                if now + pause > self.started + self.busy {
                    bail!("gave up after {} s: {reason}", self.busy.as_secs());
                }
                pause
            }
            Failure::Unanswered(reason) => {
                let since = *self.unanswered_since.get_or_insert(now);
                if now + pause > since + self.absent {
                    return Err(ServerAbsent { waited: self.absent, reason }.into());
                }
                pause
            }
        };
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

impl Push {
    /// Sends everything; the error contains the number of failed files.
    pub async fn run(self) -> anyhow::Result<()> {
        if self.fps.is_some_and(|fps| !(fps > 0.0 && fps <= 1000.0)) {
            bail!("--fps must be above 0 and at most 1000");
        }
        let paths = self.paths.clone();
        let Images { files, skipped, .. } = tokio::task::spawn_blocking(move || Images::find(&paths)).await??;
        let client = self.client.client()?;
        let failures = self.send_all(&client, &files).await?;
        if !skipped.is_empty() {
            eprintln!("{skipped}");
        }
        if failures > 0 {
            bail!("{failures} of {} failed; the lines above say why", out::counted(files.len(), "file", "files"));
        }
        Ok(())
    }

    /// Sends the files and prints a line for each; returns how many failed.
    async fn send_all(&self, client: &Client, files: &[PathBuf]) -> anyhow::Result<usize> {
        let bar = progress(files.len());
        let concurrency = if self.stream.is_some() { 1 } else { CONCURRENCY };
        let sent = paced(files, self.fps).map(|file| async move { (file, self.send(client, file).await) });
        let mut outcomes = sent.buffered(concurrency).boxed();
        let mut failures = 0;
        while let Some((file, outcome)) = outcomes.next().await {
            if let Err(error) = &outcome
                && error.is::<ServerAbsent>()
            {
                bar.finish_and_clear();
                outcome?;
                break;
            }
            bar.suspend(|| self.print(file, outcome.as_ref()))?;
            failures += usize::from(failed(&outcome));
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(failures)
    }

    /// Sends one file, and retries while a retry may succeed.
    async fn send(&self, client: &Client, file: &Path) -> anyhow::Result<Sent> {
        let content: Bytes = tokio::fs::read(file).await.context("the file cannot be read")?.into();
        let key = Uuid::now_v7().to_string();
        let mut deadline = Deadline::new(self.wait);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            match self.post(client, content.clone(), &key).await? {
                Ok(Sent::Accepted(accepted)) if !self.no_wait => {
                    return self.collect(client, &accepted, deadline).await;
                }
                Ok(sent) => return Ok(sent),
                Err(failure) => deadline.wait(failure, backoff.pause()).await?,
            }
        }
    }

    /// One try. The inner error may be overcome by a retry; the outer one is final.
    async fn post(&self, client: &Client, content: Bytes, key: &str) -> anyhow::Result<Result<Sent, Failure>> {
        let detectors: Vec<&str> = self.detectors.iter().map(DetectorName::as_str).collect();
        let mut query = Vec::new();
        query.extend(self.stream.as_ref().map(|stream| ("stream", stream.to_string())));
        query.extend((!detectors.is_empty()).then(|| ("detectors", detectors.join(","))));
        let mut request = client
            .post("/v1/frames")?
            .query(&query)
            .header("content-type", media_type(&content).unwrap_or("application/octet-stream"))
            .header("idempotency-key", key)
            .timeout(Duration::from_secs(PREFER_WAIT + 60))
            .body(content);
        if !self.no_wait {
            request = request.header("prefer", format!("wait={PREFER_WAIT}"));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(Failure::Unanswered(client.connection_error(&error)?))),
        };
        match response.status() {
            StatusCode::OK => Ok(Ok(Sent::Seen(Box::new(response.json().await.context(UNREADABLE)?)))),
            StatusCode::ACCEPTED => Ok(Ok(Sent::Accepted(response.json().await.context(UNREADABLE)?))),
            _ => Ok(Err(failure(response).await?)),
        }
    }

    /// Polls the results of an accepted frame until every detector has written its result.
    async fn collect(&self, client: &Client, accepted: &FrameAccepted, mut deadline: Deadline) -> anyhow::Result<Sent> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let no_results = || Failure::Refused(Duration::ZERO, "it has no results yet".to_owned());
        loop {
            let response = client.get(&accepted.results_url)?.timeout(Duration::from_secs(30)).send().await;
            let failure = match response {
                Ok(response) if response.status().is_success() => {
                    let view: FrameView = response.json().await.context(UNREADABLE)?;
                    if view.results.len() >= accepted.detectors.len() {
                        return Ok(Sent::Seen(Box::new(view)));
                    }
                    no_results()
                }
                Ok(response) if response.status() == StatusCode::NOT_FOUND => no_results(),
                Ok(response) => failure(response).await?,
                Err(error) => Failure::Unanswered(client.connection_error(&error)?),
            };
            let waited = deadline.wait(failure, backoff.pause()).await;
            waited.with_context(|| format!("frame {} was accepted; ask for its results later", accepted.frame_id))?;
        }
    }

    fn print(&self, file: &Path, outcome: Result<&Sent, &anyhow::Error>) -> anyhow::Result<()> {
        let name = file.display();
        match outcome {
            Ok(Sent::Seen(view)) if self.json => out::line(serde_json::to_string(view)?),
            Ok(Sent::Accepted(accepted)) if self.json => out::line(serde_json::to_string(accepted)?),
            Ok(Sent::Seen(view)) => out::line(format_args!("{name}: {} (frame {})", summary(view), view.frame_id)),
            Ok(Sent::Accepted(accepted)) => out::line(format_args!("{name}: accepted (frame {})", accepted.frame_id)),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                Ok(())
            }
        }
    }
}

const UNREADABLE: &str = "the response cannot be read";

/// Reads an error response after which a retry may succeed.
///
/// # Errors
/// When a retry cannot succeed.
async fn failure(response: reqwest::Response) -> anyhow::Result<Failure> {
    match read_error(response).await {
        ErrorResponse::RetryAfter(pause, message) => Ok(Failure::Refused(pause, message)),
        ErrorResponse::Permanent(message) => bail!(message),
    }
}

/// Whether a file was refused, or a detector failed on it.
fn failed(outcome: &anyhow::Result<Sent>) -> bool {
    match outcome {
        Ok(Sent::Seen(view)) => view.results.iter().any(|result| result.status == ResultStatus::Failed),
        Ok(Sent::Accepted(_)) => false,
        Err(_) => true,
    }
}

/// `29 faces`, `1 car, 2 trucks`, `nothing`, or the failure of a detector.
fn summary(view: &FrameView) -> String {
    let failed = view.results.iter().filter(|result| result.status == ResultStatus::Failed);
    let mut parts: Vec<String> = failed
        .map(|result| {
            let message = result.error.as_ref().map_or("failed", |error| error.message.as_str());
            format!("{} failed: {message}", result.detector)
        })
        .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for detection in &view.detections {
        *counts.entry(detection.detection.label.as_str()).or_default() += 1;
    }
    parts.extend(counts.into_iter().map(|(label, count)| out::counted_label(count, label)));
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// The files in their order: as fast as they are polled, or `fps` a second.
fn paced(files: &[PathBuf], fps: Option<f64>) -> BoxStream<'_, &PathBuf> {
    let files = futures::stream::iter(files);
    match fps {
        None => files.boxed(),
        Some(fps) => {
            let ticks = IntervalStream::new(tokio::time::interval(Duration::from_secs_f64(1.0 / fps)));
            files.zip(ticks).map(|(file, _)| file).boxed()
        }
    }
}

fn progress(files: usize) -> ProgressBar {
    if files < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} frames, {per_sec}, {eta} left");
    ProgressBar::new(files as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unreachable_server_ends_the_whole_push() {
        let mut deadline = Deadline::new(Some(0));
        let refused = deadline.wait(Failure::Refused(Duration::from_secs(1), "busy".to_owned()), Duration::ZERO).await;
        assert!(!refused.unwrap_err().is::<ServerAbsent>());
        let unanswered = deadline.wait(Failure::Unanswered("gone".to_owned()), Duration::from_secs(1)).await;
        assert_eq!(unanswered.unwrap_err().downcast::<ServerAbsent>().unwrap().to_string(), "gave up after 0 s: gone");
    }
}
