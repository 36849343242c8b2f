//! Clients in a child process that send frames on a schedule without waiting for responses.
//!
//! Every response is checked: 202 with a frame id, or a refusal with a problem code and `Retry-After` (429 or 503). Any other
//! response is wrong and is reported.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use contracts::api::FrameAccepted;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::child::ChildProcess;
use crate::stats::Times;

/// Number of streams.
const STREAMS: usize = 64;
/// Time limit of a response.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Number of wrong responses that are reported.
const SHOWN: usize = 3;

/// The responses to all requests of a schedule.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Seconds from the first request to the last response.
    pub seconds: f64,
    /// Number of frames on the schedule.
    pub due: u64,
    /// Frames not sent, because too many requests were open.
    pub unsent: u64,
    pub accepted: u64,
    /// Correct refusals, by status and code.
    pub refused: BTreeMap<String, u64>,
    pub wrong: u64,
    /// The first wrong responses.
    pub shown: Vec<String>,
    /// Response times of 202, in milliseconds.
    pub p50: f64,
    pub p99: f64,
}

impl Outcome {
    /// Number of refusals.
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// The child process.
pub struct Senders {
    child: ChildProcess,
    /// File with the ids of accepted frames, one per line.
    pub timings: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

/// Variable with the token, which must not be in the list of processes.
const TOKEN: &str = "SIGHTLINE_TEST_BENCH_TOKEN";

impl Senders {
    /// Starts it with a bound on open requests.
    pub fn start(url: &str, token: &str, image: &[u8], at_once: u32) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the senders")?;
        let (file, timings) = (folder.path().join("image"), folder.path().join("accepted"));
        std::fs::write(&file, image)?;
        let at_once = at_once.to_string();
        let [file, log] = [&file, &timings].map(|path| path.to_str().unwrap_or_default());
        let arguments = ["senders", "--url", url, "--image", file, "--timings", log, "--at-once", &at_once];
        let child = ChildProcess::bench(&arguments, &[(TOKEN, token.to_owned())])?;
        Ok(Self { child, timings, _folder: folder })
    }

    /// Sends `per_second` frames for `length` without waiting for responses.
    pub async fn offer(&mut self, per_second: f64, length: Duration) -> anyhow::Result<()> {
        self.child.send_line(&format!("{per_second} {}", length.as_secs_f64())).await
    }

    /// The result of the schedule, once it is over.
    pub async fn outcome(&mut self) -> anyhow::Result<Outcome> {
        let line = self.child.read_line_untimed().await?;
        serde_json::from_str(&line).with_context(|| format!("unexpected reply of the senders: {line:?}"))
    }

    /// Ids of all accepted frames.
    pub fn accepted(&self) -> anyhow::Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.timings).context("the timings of accepted frames")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Kills the process.
    pub async fn end(self) -> anyhow::Result<()> {
        self.child.kill().await
    }
}

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct SendersChild {
    #[arg(long)]
    url: String,
    #[arg(long)]
    image: std::path::PathBuf,
    #[arg(long)]
    timings: std::path::PathBuf,
    #[arg(long)]
    at_once: usize,
}

/// State shared by all requests.
struct SharedState {
    http: reqwest::Client,
    url: String,
    token: String,
    image: Bytes,
    permits: Arc<Semaphore>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    outcome: Outcome,
    times: Vec<Duration>,
    ids: String,
}

impl SendersChild {
    /// Runs one schedule per line of standard input, until it ends.
    pub async fn run(self) -> anyhow::Result<()> {
        let token = std::env::var(TOKEN).with_context(|| format!("{TOKEN} is not set"))?;
        let state = Arc::new(SharedState {
            http: reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?,
            url: self.url,
            token,
            image: std::fs::read(&self.image)?.into(),
            permits: Arc::new(Semaphore::new(self.at_once)),
            counts: Mutex::default(),
        });
        let mut timings = tokio::fs::File::options().create(true).append(true).open(&self.timings).await?;
        let mut orders = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = orders.next_line().await? {
            let (per_second, seconds) = line.split_once(' ').context("two numbers are expected")?;
            let started = Instant::now();
            state.offer(per_second.parse()?, Duration::from_secs_f64(seconds.parse()?)).await?;
            let Counts { mut outcome, times, ids } = std::mem::take(&mut *state.counts());
            let times: Times = times.into_iter().collect();
            outcome.seconds = started.elapsed().as_secs_f64();
            (outcome.p50, outcome.p99) = (times.ms(0.5), times.ms(0.99));
            timings.write_all(ids.as_bytes()).await?;
            timings.flush().await?;
            println!("{}", serde_json::to_string(&outcome)?);
        }
        Ok(())
    }
}

impl SharedState {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn offer(self: &Arc<Self>, per_second: f64, length: Duration) -> anyhow::Result<()> {
        let (started, count) = (Instant::now(), (per_second * length.as_secs_f64()) as usize);
        let mut in_flight = JoinSet::new();
        for number in 0..count {
            let due = started + Duration::from_secs_f64(number as f64 / per_second);
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            }
            while in_flight.try_join_next().transpose()?.is_some() {}
            match Arc::clone(&self.permits).try_acquire_owned() {
                Ok(place) => {
                    let state = Arc::clone(self);
                    in_flight.spawn(async move {
                        state.send(number, due).await;
                        drop(place);
                    });
                }
                Err(_) => self.counts().outcome.unsent += 1,
            }
        }
        self.counts().outcome.due += count as u64;
        while in_flight.join_next().await.transpose()?.is_some() {}
        Ok(())
    }

    async fn send(&self, number: usize, due: Instant) {
        let response = self.answer(number).await;
        let mut counts = self.counts();
        match response {
            Ok(Answer::Accepted(id)) => {
                counts.outcome.accepted += 1;
                counts.times.push(due.elapsed());
                counts.ids += &format!("{id}\n");
            }
            Ok(Answer::Refused(code)) => *counts.outcome.refused.entry(code).or_default() += 1,
            Err(wrong) => {
                counts.outcome.wrong += 1;
                if counts.outcome.shown.len() < SHOWN {
                    counts.outcome.shown.push(format!("{wrong:#}"));
                }
            }
        }
    }

    async fn answer(&self, number: usize) -> anyhow::Result<Answer> {
        let url = format!("{}/v1/frames?stream=camera-{}", self.url, number % STREAMS);
        let request = self.http.post(url).bearer_auth(&self.token).header("content-type", "image/png");
        let answer = request.body(self.image.clone()).send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await?;
        if status == 202 {
            return Ok(Answer::Accepted(serde_json::from_slice::<FrameAccepted>(&body)?.frame_id));
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let text = || String::from_utf8_lossy(&body).into_owned();
        anyhow::ensure!(matches!(status, 429 | 503), "{status}: {}", text());
        let seconds: u32 = header("retry-after").parse().with_context(|| format!("{status} without Retry-After"))?;
        anyhow::ensure!(seconds > 0, "{status} with Retry-After: 0");
        anyhow::ensure!(
            header("content-type") == "application/problem+json",
            "{status} without a problem+json body: {}",
            text()
        );
        let problem: serde_json::Value = serde_json::from_slice(&body)?;
        let code = problem["code"].as_str().with_context(|| format!("a problem without a code: {}", text()))?;
        Ok(Answer::Refused(format!("{status} {code}")))
    }
}

enum Answer {
    Accepted(contracts::FrameId),
    Refused(String),
}
