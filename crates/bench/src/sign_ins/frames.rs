//! A client that sends frames at a fixed rate.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use crate::latency::PHOTO as FACE;
use crate::latency::services::Services;
use crate::stats::Times;

/// The image.
pub const PHOTO: &[u8] = FACE;
/// Number of streams.
const STREAMS: u32 = 8;

/// Sends frames at a fixed rate without waiting for earlier responses; returns the time from each request to its 202. Fails
/// when one is refused.
pub async fn send(services: &Services, per_second: u32, length: Duration) -> anyhow::Result<Times> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let (started, pause) = (Instant::now(), Duration::from_secs(1) / per_second);
    let mut in_flight = JoinSet::new();
    let mut number = 0;
    while started.elapsed() < length {
        let url = format!("{}/v1/frames?stream=camera-{}", services.url, number % STREAMS);
        let request = http.post(url).bearer_auth(&services.token).header("content-type", "image/jpeg").body(PHOTO);
        in_flight.spawn(one(request));
        number += 1;
        tokio::time::sleep_until((started + pause * number).into()).await;
    }
    let mut times = Vec::new();
    while let Some(ended) = in_flight.join_next().await {
        times.push(ended??);
    }
    Ok(times.into_iter().collect())
}

async fn one(request: reqwest::RequestBuilder) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let response = request.send().await.context("a frame could not be sent")?;
    let status = response.status();
    let body = response.bytes().await.context("the response to a frame was cut off")?;
    let time = started.elapsed();
    ensure!(status == 202, "a frame was answered by {status}: {}", String::from_utf8_lossy(&body));
    Ok(time)
}
