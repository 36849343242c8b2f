//! A client that sends frames, on a schedule or as fast as possible, and a subscriber that receives their alerts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use contracts::FrameId;
use contracts::alert::AlertData;
use contracts::api::{FrameAccepted, FrameView};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::services::Services;
use super::timings::{FrameTiming, Timings};
use platform::sse::SseParser;

/// Number of streams.
pub const STREAMS: usize = 8;
/// Concurrent frames while the capacity is measured.
const AT_ONCE: usize = 48;
/// Time limit for an alert.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Number of frames of a load whose results are queried.
const QUERIED: usize = 400;

/// The client and the subscriber.
pub struct Load {
    sender: Sender,
    timings: Arc<Timings>,
    listening: AbortOnDropHandle<anyhow::Result<()>>,
}

#[derive(Clone)]
struct Sender {
    http: reqwest::Client,
    url: String,
    token: String,
    photo: Bytes,
    timings: Arc<Timings>,
}

impl Load {
    /// Subscribes to alerts; returns after the first block of the stream.
    pub async fn subscribe(services: &Services, photo: Bytes) -> anyhow::Result<Self> {
        let (timings, http) = (Arc::new(Timings::default()), reqwest::Client::new());
        let (url, token) = (services.url.clone(), services.token.clone());
        let response = http.get(format!("{url}/v1/alerts")).bearer_auth(&token).send().await?.error_for_status()?;
        let mut pieces = response.bytes_stream();
        // The first block contains the cursor; from then on no alert is missed.
        let mut parser = SseParser::default();
        while parser.last_id().is_none() {
            let piece = pieces.next().await.context("the stream of alerts ended")??;
            parser.feed(&piece);
        }
        let listening = tokio::spawn({
            let timings = timings.clone();
            async move {
                while let Some(piece) = pieces.next().await.transpose()? {
                    let now = Timestamp::now();
                    for event in parser.feed(&piece).into_iter().filter(|event| event.event == "alert") {
                        let alert: AlertData = serde_json::from_str(&event.data)?;
                        timings.alerted(alert.frame_id, alert.raised_at, now);
                    }
                }
                anyhow::bail!("the stream of alerts ended")
            }
        });
        let sender = Sender { http, url, token, photo, timings: timings.clone() };
        Ok(Self { sender, timings, listening: AbortOnDropHandle::new(listening) })
    }

    /// Measures the capacity in frames/s, with many concurrent frames from send to alert.
    pub async fn at_capacity(&self, length: Duration) -> anyhow::Result<f64> {
        let (started, mut done) = (Instant::now(), 0_u32);
        let mut number = 0;
        let mut in_flight = FuturesUnordered::new();
        loop {
            while in_flight.len() < AT_ONCE && started.elapsed() < length {
                in_flight.push(self.send_and_wait(number));
                number += 1;
            }
            match in_flight.next().await {
                Some(outcome) => outcome?,
                None => return Ok(f64::from(done) / length.as_secs_f64()),
            }
            done += u32::from(started.elapsed() < length);
        }
    }

    async fn send_and_wait(&self, number: usize) -> anyhow::Result<()> {
        let id = self.sender.send(number, Timestamp::now()).await?;
        self.alerted(id).await
    }

    async fn alerted(&self, id: FrameId) -> anyhow::Result<()> {
        let wait = async {
            loop {
                let seen = self.timings.seen.notified();
                if self.timings.is_alerted(id) {
                    return;
                }
                seen.await;
            }
        };
        tokio::time::timeout(TIMEOUT, wait).await.with_context(|| match self.listening.is_finished() {
            true => "the stream of alerts was closed".to_owned(),
            false => format!("frame {id} has no alert after {TIMEOUT:?}"),
        })
    }

    /// Sends frames at a fixed rate without waiting, then waits for their alerts.
    pub async fn offer(&self, per_second: f64, length: Duration) -> anyhow::Result<Vec<FrameTiming>> {
        let (started, begun_at) = (Instant::now(), Timestamp::now());
        let count = (per_second * length.as_secs_f64()) as usize;
        let mut in_flight = JoinSet::new();
        for number in 0..count {
            let after = Duration::from_secs_f64(number as f64 / per_second);
            tokio::time::sleep_until((started + after).into()).await;
            let (sender, due) = (self.sender.clone(), begun_at.checked_add(after)?);
            in_flight.spawn(async move { (number, sender.send(number, due).await) });
        }
        let mut ids = vec![None; count];
        while let Some(sent) = in_flight.join_next().await {
            let (number, id) = sent?;
            ids[number] = Some(id.context("a frame was refused below the capacity")?);
        }
        let ids: Vec<FrameId> = ids.into_iter().flatten().collect();
        for id in &ids {
            self.alerted(*id).await?;
        }
        let (frames, missing) = self.timings.of(&ids);
        anyhow::ensure!(missing == 0, "{missing} frames have no alert");
        Ok(frames)
    }

    /// Queries the times at which the results of some of these frames were published.
    pub async fn processed(&self, frames: &[FrameTiming]) -> anyhow::Result<HashMap<FrameId, Timestamp>> {
        let mut processed = HashMap::new();
        for frame in frames.iter().step_by(frames.len().div_ceil(QUERIED).max(1)) {
            let view = self.sender.view(frame.id).await?;
            processed.extend(view.results.first().map(|result| (frame.id, result.processed_at)));
        }
        Ok(processed)
    }
}

impl Sender {
    /// Sends a frame; returns after its 202.
    async fn send(&self, number: usize, due: Timestamp) -> anyhow::Result<FrameId> {
        let url = format!("{}/v1/frames?stream=camera-{}", self.url, number % STREAMS);
        let request = self.http.post(url).bearer_auth(&self.token).header("content-type", kind(&self.photo));
        let response = request.body(self.photo.clone()).send().await?;
        let (now, status) = (Timestamp::now(), response.status());
        let text = response.text().await?;
        anyhow::ensure!(status == 202, "a frame was answered by {status}: {text}");
        let accepted: FrameAccepted = serde_json::from_str(&text)?;
        self.timings.accepted(accepted.frame_id, due, now);
        Ok(accepted.frame_id)
    }

    /// Waits until the results of a frame are stored and returns them.
    async fn view(&self, id: FrameId) -> anyhow::Result<FrameView> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let response =
                self.http.get(format!("{}/v1/frames/{id}", self.url)).bearer_auth(&self.token).send().await?;
            if response.status() != 404 {
                return Ok(response.error_for_status()?.json().await?);
            }
            anyhow::ensure!(Instant::now() < deadline, "frame {id} is not stored after {TIMEOUT:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn kind(photo: &[u8]) -> &'static str {
    match photo {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [b'R', b'I', b'F', b'F', ..] => "image/webp",
        _ => "image/jpeg",
    }
}
