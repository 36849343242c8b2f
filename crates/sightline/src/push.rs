//! `sightline push`: sends images and folders of them, waits for what the detectors say, prints a line for each.
//!
//! Every file travels under an idempotency key of its own, so that a retry after a lost answer is the same frame.

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

use crate::client::{Client, ClientArgs, Refusal, refusal};
use crate::out;
use crate::watch::root;

/// Sends images, or folders of them, and prints what was seen
#[derive(Debug, Args)]
pub struct Push {
    /// Images (JPEG, PNG, WebP), or folders of them
    #[arg(required = true, value_name = "FILE|FOLDER")]
    paths: Vec<PathBuf>,

    #[command(flatten)]
    client: ClientArgs,

    /// Stream that the frames belong to; they are then sent one after the other, in the order of their names
    #[arg(long, value_name = "NAME")]
    stream: Option<StreamName>,

    /// Frames a second; as fast as the server takes them when not set
    #[arg(long, value_name = "NUMBER")]
    fps: Option<f64>,

    /// Detectors to ask; the server's own choice when not set
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    detectors: Vec<DetectorName>,

    /// Do not wait for results
    #[arg(long)]
    no_wait: bool,

    /// Print results as JSON, one object a line
    #[arg(long)]
    json: bool,

    /// Give up on a file after this many seconds of refusals and broken connections
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    patience: u64,
}

/// Files on their way at once, without a stream.
const CONCURRENCY: usize = 8;
/// How long a request asks the server to wait for results, in seconds.
const WAIT: u64 = 10;
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// What became of a file.
enum Sent {
    Accepted(FrameAccepted),
    Seen(Box<FrameView>),
}

impl Push {
    /// Sends everything; an error tells how many files failed.
    pub async fn run(self) -> anyhow::Result<()> {
        if self.fps.is_some_and(|fps| !(fps > 0.0 && fps <= 1000.0)) {
            bail!("--fps must be above 0 and at most 1000");
        }
        let files = files(&self.paths)?;
        let client = self.client.client()?;
        let bar = progress(files.len());
        let concurrency = if self.stream.is_some() { 1 } else { CONCURRENCY };
        let (push, client) = (&self, &client);
        let sent = paced(&files, self.fps).map(|file| async move { (file, push.send(client, file).await) });
        let mut outcomes = sent.buffered(concurrency).boxed();
        let mut failures = 0;
        while let Some((file, outcome)) = outcomes.next().await {
            bar.suspend(|| self.print(file, outcome.as_ref()))?;
            failures += usize::from(failed(&outcome));
            bar.inc(1);
        }
        bar.finish_and_clear();
        if failures > 0 {
            bail!("{failures} of {} files failed; what each said stands above", files.len());
        }
        Ok(())
    }

    /// Sends one file, again and again while the refusals may pass.
    async fn send(&self, client: &Client, file: &Path) -> anyhow::Result<Sent> {
        let content: Bytes = tokio::fs::read(file).await.context("the file cannot be read")?.into();
        let key = Uuid::now_v7().to_string();
        let patience = Instant::now() + Duration::from_secs(self.patience);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let (pause, reason) = match self.post(client, file, content.clone(), &key).await? {
                Ok(Sent::Accepted(accepted)) if !self.no_wait => {
                    return self.collect(client, &accepted, patience).await;
                }
                Ok(sent) => return Ok(sent),
                Err(later) => later,
            };
            let pause = pause.max(backoff.pause());
            if Instant::now() + pause > patience {
                bail!("given up after {} s: {reason}", self.patience);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One try. The inner error says when and why to try again; the outer one is final.
    async fn post(
        &self,
        client: &Client,
        file: &Path,
        content: Bytes,
        key: &str,
    ) -> anyhow::Result<Result<Sent, (Duration, String)>> {
        let detectors: Vec<&str> = self.detectors.iter().map(DetectorName::as_str).collect();
        let mut query = Vec::new();
        query.extend(self.stream.as_ref().map(|stream| ("stream", stream.to_string())));
        query.extend((!detectors.is_empty()).then(|| ("detectors", detectors.join(","))));
        let mut request = client
            .post("/v1/frames")?
            .query(&query)
            .header("content-type", media_type(file))
            .header("idempotency-key", key)
            .timeout(Duration::from_secs(WAIT + 60))
            .body(content);
        if !self.no_wait {
            request = request.header("prefer", format!("wait={WAIT}"));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err((Duration::ZERO, client.unreached(&error)?))),
        };
        match response.status() {
            StatusCode::OK => Ok(Ok(Sent::Seen(Box::new(response.json().await.context("the answer does not read")?)))),
            StatusCode::ACCEPTED => Ok(Ok(Sent::Accepted(response.json().await.context("the answer does not read")?))),
            _ => match refusal(response).await {
                Refusal::Later(pause, message) => Ok(Err((pause, message))),
                Refusal::Never(message) => bail!(message),
            },
        }
    }

    /// Asks for the results of an accepted frame until every detector has answered.
    async fn collect(&self, client: &Client, accepted: &FrameAccepted, patience: Instant) -> anyhow::Result<Sent> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let mut reason = "its results are not there yet".to_owned();
            let asked = client.get(&accepted.results_url)?.timeout(Duration::from_secs(30)).send().await;
            match asked {
                Ok(response) if response.status().is_success() => {
                    let view: FrameView = response.json().await.context("the answer does not read")?;
                    if view.results.len() >= accepted.detectors.len() {
                        return Ok(Sent::Seen(Box::new(view)));
                    }
                }
                Ok(response) if response.status() == StatusCode::NOT_FOUND => {}
                Ok(response) => match refusal(response).await {
                    Refusal::Later(_, message) => reason = message,
                    Refusal::Never(message) => bail!(message),
                },
                Err(error) => reason = root(&error),
            }
            let pause = backoff.pause();
            if Instant::now() + pause > patience {
                bail!("frame {} was taken, but {reason}; ask for it later", accepted.frame_id);
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn print(&self, file: &Path, outcome: Result<&Sent, &anyhow::Error>) -> anyhow::Result<()> {
        let name = file.display();
        match outcome {
            Ok(Sent::Seen(view)) if self.json => out::line(serde_json::to_string(view)?),
            Ok(Sent::Accepted(accepted)) if self.json => out::line(serde_json::to_string(accepted)?),
            Ok(Sent::Seen(view)) => out::line(format_args!("{name}: {} (frame {})", summary(view), view.frame_id)),
            Ok(Sent::Accepted(accepted)) => out::line(format_args!("{name}: taken (frame {})", accepted.frame_id)),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                Ok(())
            }
        }
    }
}

/// Whether a file was not taken, or a detector could not say anything about it.
fn failed(outcome: &anyhow::Result<Sent>) -> bool {
    match outcome {
        Ok(Sent::Seen(view)) => view.results.iter().any(|result| result.status == ResultStatus::Failed),
        Ok(Sent::Accepted(_)) => false,
        Err(_) => true,
    }
}

/// `29 face`, `1 car, 2 truck`, `nothing`, or what went wrong.
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
    parts.extend(counts.into_iter().map(|(label, count)| format!("{count} {label}")));
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

/// The files, one after the other: as fast as they are asked for, or so many a second.
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

/// The images that the paths name: files as they are, of folders those with an image's ending, in the order of their names.
fn files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if !kind.is_dir() {
            found.push(path.clone());
            continue;
        }
        let before = found.len();
        walk(path, &mut found)?;
        found[before..].sort();
        if found.len() == before {
            bail!("{} has no image in it; images end in {}", path.display(), EXTENSIONS.join(", "));
        }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, found)?;
        } else if extension(&path).is_some_and(|ending| EXTENSIONS.contains(&&*ending)) {
            found.push(path);
        }
    }
    Ok(())
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// The media type that the ending names; the server looks at the bytes and has the last word.
fn media_type(path: &Path) -> &'static str {
    match extension(path).as_deref() {
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("jpg" | "jpeg") => "image/jpeg",
        _ => "application/octet-stream",
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

    #[test]
    fn folders_give_their_images_in_order_and_an_empty_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(files(&[folder.path().to_owned()]).is_err());
        std::fs::create_dir(folder.path().join("b")).unwrap();
        for name in ["z.JPG", "b/a.png", "notes.txt"] {
            std::fs::write(folder.path().join(name), []).unwrap();
        }
        let names: Vec<PathBuf> = files(&[folder.path().to_owned()]).unwrap();
        assert_eq!(names, [folder.path().join("b/a.png"), folder.path().join("z.JPG")]);
    }
}
