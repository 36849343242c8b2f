//! `sightline push`: sends images, and folders of them, waits for the results, and prints a line for each. Videos and live cameras are
//! sent by the camera program ([`videos`]).
//!
//! Every file has its own idempotency key, so that a retry after a lost response creates no second frame.

mod images;
#[cfg(test)]
mod tests;
mod values;
mod videos;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use contracts::api::{FrameAccepted, FrameView, ResultStatus};
use contracts::{DetectorName, StreamName};
use futures::StreamExt;
use futures::stream::BoxStream;
use platform::retry::Backoff;
use platform::shutdown::Interrupted;
use platform::{error_line, one_line};
use reqwest::StatusCode;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::IntervalStream;
use uuid::Uuid;

use self::images::Images;
use crate::client::{Client, ClientArgs, WrongServer};
use crate::out;
use crate::sending::deadline::{Deadline, Failure, PauseTooLong, ServerAbsent, parse_wait};
use crate::sending::image_file::{self, media_type};
use crate::sending::progress::progress;
use crate::sending::responses::{Tried, body, failure};

/// Sends images, videos, or folders of them, or the frames of a live camera
// Without it, the usage of an error names options that are set in the environment as if they were required.
#[derive(Debug, Args)]
#[command(override_usage = "sightline push [OPTIONS] <FILE|FOLDER|URL>...")]
pub struct Push {
    /// Images (JPEG, PNG, WebP), videos, folders of them, or the URL of a live camera (rtsp, rtsps, http, https)
    #[arg(required = true, value_name = "FILE|FOLDER|URL")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    client: ClientArgs,

    /// Stream of the frames; the files are then sent one at a time, in the given order, and sorted by name within a folder. Of a
    /// video, the default is the name of its file
    #[arg(long, value_name = "NAME")]
    stream: Option<StreamName>,

    /// Most frames per second: of images, how fast they are sent; of a video, how many of its frames, by their times [default: as
    /// fast as the server accepts them, and all]
    #[arg(long, value_name = "NUMBER", value_parser = values::fps, allow_negative_numbers = true)]
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

    #[command(flatten)]
    video: videos::VideoArgs,

    /// Give up after this many seconds [default: 15 if the server does not answer; 300 if it is busy or has no results yet]
    #[arg(long, alias = "patience", value_name = "SECONDS", value_parser = parse_wait, allow_negative_numbers = true)]
    wait: Option<u64>,
}

/// Number of files sent concurrently, without a stream.
const CONCURRENCY: usize = 8;
/// Seconds that a request asks the server to wait for results.
const PREFER_WAIT: u64 = 10;
/// Longest time of a request to send a file, and of one to get its results.
const SEND_TIMEOUT: Duration = Duration::from_secs(PREFER_WAIT + 60);
const COLLECT_TIMEOUT: Duration = Duration::from_secs(30);

/// The result of sending a file.
enum Sent {
    Accepted(FrameAccepted),
    Seen(Box<FrameView>),
}

impl Push {
    /// Sends everything; the error contains the number of failed files.
    pub async fn run(self) -> anyhow::Result<()> {
        let paths = self.paths.clone();
        let (live, paths): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| videos::is_url(path));
        let found = tokio::task::spawn_blocking(move || Images::find(&paths)).await??;
        let Images { files, videos, skipped, .. } = found;
        // Before anything is sent.
        self.video.check(!videos.is_empty(), !live.is_empty())?;
        let failures = if files.is_empty() { 0 } else { self.send_all(&self.client.client()?, &files).await? };
        if !skipped.is_empty() {
            error_line(one_line(&skipped));
        }
        let sources: Vec<PathBuf> = videos.into_iter().chain(live).collect();
        if !sources.is_empty() {
            self.send_videos(&sources).await?;
        }
        if failures > 0 {
            bail!("{failures} of {} failed; the lines above say why", out::counted(files.len(), "file", "files"));
        }
        Ok(())
    }

    /// Sends the files and prints a line for each; returns how many failed.
    ///
    /// # Errors
    /// After a signal, when the server is absent or the wrong one, and when it requests a pause that no file waits for; says
    /// what became of the files.
    async fn send_all(&self, client: &Client, files: &[PathBuf]) -> anyhow::Result<usize> {
        let stop = platform::shutdown::on_signal()?;
        let bar = progress(files.len(), "frames");
        let concurrency = if self.stream.is_some() { 1 } else { CONCURRENCY };
        let (started, is_refused) = (AtomicUsize::new(0), AtomicBool::new(false));
        let unsent = paced(files, self.fps).take_while(|_| std::future::ready(!is_refused.load(Ordering::Relaxed)));
        let sent = unsent.map(|file| {
            started.fetch_add(1, Ordering::Relaxed);
            async move { (file, self.send(client, file).await) }
        });
        let mut outcomes = sent.buffered(concurrency).boxed();
        let mut count = Count { files: files.len(), ..Count::default() };
        let mut refusal = None;
        while let Some(next) = stop.run_until_cancelled(outcomes.next()).await {
            let Some((file, outcome)) = next else {
                bar.finish_and_clear();
                return Ok(count.failed);
            };
            count.started = started.load(Ordering::Relaxed);
            match outcome {
                Err(error) if error.is::<WrongServer>() => {
                    bar.finish_and_clear();
                    return Err(error);
                }
                Err(error) if error.is::<ServerAbsent>() => {
                    bar.finish_and_clear();
                    return Err(count.explain(error));
                }
                // No file is started any more; the error is printed once, after the results of those that were.
                Err(error) if error.is::<PauseTooLong>() => {
                    is_refused.store(true, Ordering::Relaxed);
                    refusal.get_or_insert(error);
                    count.failed += 1;
                }
                outcome => {
                    bar.suspend(|| self.print(file, outcome.as_ref()))?;
                    count.failed += usize::from(failed(&outcome));
                }
            }
            count.done += 1;
            bar.inc(1);
            if count.done == count.started
                && let Some(error) = refusal.take()
            {
                bar.finish_and_clear();
                return Err(count.explain(error));
            }
        }
        bar.finish_and_clear();
        count.started = started.load(Ordering::Relaxed);
        Err(Interrupted(count.to_string()).into())
    }

    /// Sends one file, and retries while a retry may succeed.
    async fn send(&self, client: &Client, file: &Path) -> anyhow::Result<Sent> {
        let content = image_file::read(file).await?;
        let key = Uuid::now_v7().to_string();
        let mut deadline = Deadline::new(self.wait);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            match self.post(client, content.clone(), &key, &mut deadline).await? {
                Ok(Sent::Accepted(accepted)) if !self.no_wait => {
                    return self.collect(client, &accepted, deadline).await;
                }
                Ok(sent) => return Ok(sent),
                Err(failure) => deadline.wait(failure, backoff.pause()).await?,
            }
        }
    }

    /// One request to send a file. The key makes it safe to repeat.
    async fn post(&self, client: &Client, content: Bytes, key: &str, deadline: &mut Deadline) -> Tried<Sent> {
        let detectors: Vec<&str> = self.detectors.iter().map(DetectorName::as_str).collect();
        let mut query = Vec::new();
        query.extend(self.stream.as_ref().map(|stream| ("stream", stream.to_string())));
        query.extend((!detectors.is_empty()).then(|| ("detectors", detectors.join(","))));
        let timeout = deadline.begin_request(SEND_TIMEOUT);
        let mut request = client
            .post("/v1/frames")?
            .query(&query)
            .header("content-type", media_type(&content).unwrap_or("application/octet-stream"))
            .header("idempotency-key", key)
            .timeout(timeout)
            .body(content);
        if !self.no_wait {
            // Half of the time, so that the response arrives before the request times out.
            let wait = PREFER_WAIT.min(timeout.as_secs() / 2);
            request = request.header("prefer", format!("wait={wait}"));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(Failure::Unanswered(client.connection_error(&error).await?))),
        };
        let sent = match response.status() {
            StatusCode::OK => body(response).await?.map(|view| Sent::Seen(Box::new(view))),
            StatusCode::ACCEPTED => body(response).await?.map(Sent::Accepted),
            _ => Err(failure(response).await?),
        };
        if sent.is_ok() {
            deadline.answered();
        }
        Ok(sent)
    }

    /// Polls the results of an accepted frame until every detector has written its result.
    async fn collect(&self, client: &Client, accepted: &FrameAccepted, mut deadline: Deadline) -> anyhow::Result<Sent> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let failure = match self.results(client, accepted, deadline.begin_request(COLLECT_TIMEOUT)).await? {
                Ok(view) => return Ok(Sent::Seen(Box::new(view))),
                Err(failure) => failure,
            };
            let waited = deadline.wait(failure, backoff.pause()).await;
            waited.with_context(|| format!("frame {} was accepted; ask for its results later", accepted.frame_id))?;
        }
    }

    /// One request for the results of an accepted frame; fails while they are incomplete.
    async fn results(&self, client: &Client, accepted: &FrameAccepted, timeout: Duration) -> Tried<FrameView> {
        let no_results = || Failure::Refused(Duration::ZERO, "it has no results yet".to_owned());
        let response = match client.get(&accepted.results_url)?.timeout(timeout).send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(Failure::Unanswered(client.connection_error(&error).await?))),
        };
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Err(no_results()));
        }
        if !response.status().is_success() {
            return Ok(Err(failure(response).await?));
        }
        let view = body::<FrameView>(response).await?;
        Ok(view
            .and_then(|view| if view.results.len() >= accepted.detectors.len() { Ok(view) } else { Err(no_results()) }))
    }

    fn print(&self, file: &Path, outcome: Result<&Sent, &anyhow::Error>) -> anyhow::Result<()> {
        let name = file.display();
        match outcome {
            Ok(Sent::Seen(view)) if self.json => out::line(serde_json::to_string(view)?),
            Ok(Sent::Accepted(accepted)) if self.json => out::line(serde_json::to_string(accepted)?),
            Ok(Sent::Seen(view)) => {
                out::line(one_line(&format_args!("{name}: {} (frame {})", summary(view), view.frame_id)))
            }
            Ok(Sent::Accepted(accepted)) => {
                out::line(one_line(&format_args!("{name}: accepted (frame {})", accepted.frame_id)))
            }
            Err(error) => {
                error_line(one_line(&format_args!("{name}: {error:#}")));
                Ok(())
            }
        }
    }
}

/// What became of the files of a push that ends early.
#[derive(Debug, Default)]
struct Count {
    files: usize,
    /// Sent once at least.
    started: usize,
    /// With a result or a refusal.
    done: usize,
    /// Among those that are done.
    failed: usize,
}

impl Count {
    /// The error that ended the push, with the count. The count says nothing new about a single file.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        if self.files == 1 { error } else { error.context(self.to_string()) }
    }
}

/// `2 of 20 files done (1 failed), 8 without an answer (the server may have accepted them), 10 not sent`
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} done", self.done, out::counted(self.files, "file", "files"))?;
        if self.failed > 0 {
            write!(f, " ({} failed)", self.failed)?;
        }
        match self.started.saturating_sub(self.done) {
            0 => {}
            1 => f.write_str(", 1 without an answer (the server may have accepted it)")?,
            open => write!(f, ", {open} without an answer (the server may have accepted them)")?,
        }
        match self.files.saturating_sub(self.started) {
            0 => Ok(()),
            unsent => write!(f, ", {unsent} not sent"),
        }
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

/// `29 faces`, `1 car, 2 trucks`, `nothing (detectors: face)`, or the failure of a detector.
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
    if parts.is_empty() {
        let detectors: Vec<&str> = view.results.iter().map(|result| result.detector.as_str()).collect();
        return format!("nothing (detectors: {})", detectors.join(", "));
    }
    parts.join(", ")
}

/// The files in their order: as fast as they are polled, or at most `fps` a second. After a late one the next follows a whole
/// period later: a camera does not send what it missed.
fn paced(files: &[PathBuf], fps: Option<f64>) -> BoxStream<'_, &PathBuf> {
    let files = futures::stream::iter(files);
    match fps {
        None => files.boxed(),
        Some(fps) => {
            let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / fps));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            files.zip(IntervalStream::new(ticks)).map(|(file, _)| file).boxed()
        }
    }
}
