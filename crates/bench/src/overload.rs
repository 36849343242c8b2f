//! Ten times the load that the services can handle: memory, refusals, throughput, and the time until normal requests are accepted again.
//!
//! The real programs run on Kafka and MongoDB, then `sightline up` on embedded parts. The model is an HTTP engine that takes a fixed
//! time per image and no CPU time, like one on a GPU, so that inference does not slow down the measured services. Senders in a child
//! process first send somewhat more than the worker's capacity, to measure its peak. Then they send ten times as much on a fixed
//! schedule (open loop). Then ordinary requests are sent one by one. Retention is short, so that within the run enough frames wait in
//! the log for new ones to be refused. Every accepted frame must get a result in the end.

mod limited_services;
pub mod senders;
mod watch;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use futures::{StreamExt as _, stream};
use tokio::sync::oneshot;

use super::RunLength;
use super::engine::Engine;
use super::namespace::Servers;
use super::report::{Goal, Report};
use super::stats::Times;
use limited_services::LimitedServices;
use senders::{Outcome, Senders};
use watch::MemorySamples;

/// Inference time of the engine.
const MODEL: Duration = Duration::from_millis(20);
/// Load of the overload, as a multiple of the capacity.
const TIMES: f64 = 10.0;
/// Load of the run before it, which measures the worker's peak, as a multiple of the capacity.
const FULL: f64 = 3.0;
/// Retention of frames. A new frame is refused when it would wait longer than half of it.
const RETENTION: &str = "60s";
/// Maximum number of open requests.
const AT_ONCE: u32 = 2_000;
/// Width and height of the image in pixels, which do not compress.
const SIDE: u32 = 96;
/// Number of consecutive ordinary requests that must be accepted for the service to count as recovered, and the pause between them.
const ORDINARY: usize = 20;
const BETWEEN: Duration = Duration::from_millis(50);

/// Length of the bench.
#[derive(Debug, Args)]
pub struct OverloadBench {
    /// Minutes of overload [default: 5, quick: half of one]
    #[arg(long, value_name = "MINUTES")]
    overload_minutes: Option<f64>,

    /// Only on embedded parts, without servers
    #[arg(long)]
    overload_embedded: bool,
}

impl OverloadBench {
    /// Measures on servers, then on embedded parts.
    pub async fn run(&self, servers: &Servers, run_length: RunLength) -> anyhow::Result<Report> {
        let length = Duration::from_secs_f64(60.0 * self.overload_minutes.unwrap_or_else(|| run_length.pick(5.0, 0.5)));
        let engine = Engine::start(MODEL).await?;
        let image = image()?;
        let mut report = Report::new("overload");
        report.setting("seconds", length.as_secs());
        report.setting("model_ms", MODEL.as_millis() as u64);
        report.setting("image_bytes", image.len());
        report.setting("frames_retention", RETENTION);
        if !self.overload_embedded {
            let services = LimitedServices::on_servers(servers, &engine, RETENTION, AT_ONCE).await?;
            Box::pin(overload(&mut report, "Kafka", services, &image, length)).await?;
        }
        let services = LimitedServices::embedded(&engine, RETENTION, AT_ONCE).await?;
        Box::pin(overload(&mut report, "embedded", services, &image, length)).await?;
        Ok(report)
    }
}

async fn overload(
    report: &mut Report,
    name: &str,
    services: LimitedServices,
    image: &Bytes,
    length: Duration,
) -> anyhow::Result<()> {
    let mut senders = Senders::start(&services.url, &services.token, image, AT_ONCE)?;
    let before = ordinary(&services, image).await?;
    let started = Instant::now();
    let (stop, stopped) = oneshot::channel();
    let load = async {
        let capacity = 1.0 / MODEL.as_secs_f64();
        senders.offer(capacity * FULL, Duration::from_secs(8)).await?;
        let full = senders.outcome().await?;
        ensure!(
            full.accepted == full.due,
            "below the capacity requests were refused, {:?}, or answered wrongly, {:?}",
            full.refused,
            full.shown
        );
        let from = started.elapsed().as_secs_f64();
        senders.offer(capacity * TIMES, length).await?;
        let outcome = senders.outcome().await?;
        let to = started.elapsed().as_secs_f64();
        let well = recovery(&services, image).await;
        let after = ordinary(&services, image).await;
        let lost = unfinished(&services, &senders, length).await?;
        drop(stop);
        anyhow::Ok((from, to, outcome, well?, after?, lost))
    };
    let (load, seen) = tokio::join!(load, watch::watch(&services, started, stopped));
    let ((from, to, outcome, well, after, lost), seen) = (load?, seen?);
    memory(report, name, &services, &seen);
    answers(report, name, &outcome);
    let (peak, goodput) = (seen.per_second(2.0, from), seen.per_second(from, to));
    report.figure(format!("{name}: peak"), peak, "frames/s");
    report.with_goal(format!("{name}: done under overload, of the peak"), goodput / peak, "", Goal::AtLeast(0.8));
    report.with_goal(format!("{name}: accepted again after"), well, "s", Goal::AtMost(10.0));
    report.figure(format!("{name}: ordinary requests before, p99"), before.ms(0.99), "ms");
    report.figure(format!("{name}: ordinary requests after, p99"), after.ms(0.99), "ms");
    report.with_goal(format!("{name}: accepted frames without a result"), lost as f64, "", Goal::AtMost(0.0));
    report.series(format!("{name}: frames finished"), "s", "frames", seen.done);
    senders.end().await?;
    services.end().await
}

fn memory(report: &mut Report, name: &str, services: &LimitedServices, seen: &MemorySamples) {
    for (program, memory) in services.programs.iter().zip(&seen.memory) {
        let most = memory.iter().map(|(_, size)| *size).fold(0.0, f64::max);
        let bound = program.bound as f64 / 1e6;
        report.with_goal(format!("{name}: most memory, {}", program.name), most, "MB", Goal::AtMost(bound));
        report.series(format!("{name}: {}", program.name), "s", "MB", memory.clone());
    }
}

fn answers(report: &mut Report, name: &str, outcome: &Outcome) {
    let share = |count: u64| count as f64 / outcome.due as f64;
    report.figure(format!("{name}: offered"), outcome.due as f64 / outcome.seconds, "frames/s");
    report.figure(format!("{name}: accepted"), share(outcome.accepted), "of all");
    report.figure(format!("{name}: refused with Retry-After"), share(outcome.refusals()), "of all");
    report.figure(format!("{name}: not sent, too many requests open"), share(outcome.unsent), "of all");
    report.figure(format!("{name}: accepted under overload, p99"), outcome.p99, "ms");
    report.with_goal(format!("{name}: answered in another way"), outcome.wrong as f64, "", Goal::AtMost(0.0));
    let codes: Vec<String> = outcome.refused.iter().map(|(code, count)| format!("{count} × {code}")).collect();
    if !codes.is_empty() {
        report.note(format!("{name}: refusals: {}", codes.join(", ")));
    }
    for wrong in &outcome.shown {
        report.note(format!("{name}: wrong: {wrong}"));
    }
}

/// Sends requests one after the other, with a pause; returns the response time of each.
async fn ordinary(services: &LimitedServices, image: &Bytes) -> anyhow::Result<Times> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut times = Vec::new();
    for _ in 0..ORDINARY * 5 {
        let (accepted, time) = one(&http, services, image).await?;
        ensure!(accepted, "an ordinary request was refused");
        times.push(time);
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(times.into_iter().collect())
}

/// Seconds until the first of several consecutive ordinary requests is accepted.
async fn recovery(services: &LimitedServices, image: &Bytes) -> anyhow::Result<f64> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let started = Instant::now();
    let (mut row, mut since) = (0, 0.0);
    while row < ORDINARY {
        ensure!(
            started.elapsed() < Duration::from_secs(600),
            "ordinary requests are refused ten minutes after the overload"
        );
        let (accepted, _) = one(&http, services, image).await?;
        if row == 0 {
            since = started.elapsed().as_secs_f64();
        }
        row = if accepted { row + 1 } else { 0 };
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(since)
}

async fn one(http: &reqwest::Client, services: &LimitedServices, image: &Bytes) -> anyhow::Result<(bool, Duration)> {
    let started = Instant::now();
    let request = http.post(format!("{}/v1/frames?stream=ordinary", services.url)).bearer_auth(&services.token);
    let response = request.header("content-type", "image/png").body(image.clone()).send().await?;
    let status = response.status().as_u16();
    response.bytes().await?;
    Ok((status == 202, started.elapsed()))
}

/// Number of accepted frames without a result, after the worker had enough time for all.
async fn unfinished(services: &LimitedServices, senders: &Senders, length: Duration) -> anyhow::Result<usize> {
    let deadline = Instant::now() + length + Duration::from_secs(120);
    let http = &reqwest::Client::builder().no_proxy().build()?;
    let mut waiting = senders.accepted()?;
    while !waiting.is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let checks = stream::iter(waiting).map(|id| async move {
            let request = http.get(format!("{}/v1/frames/{id}", services.url)).bearer_auth(&services.token);
            let response = request.send().await?;
            let status = response.status().as_u16();
            response.bytes().await?;
            ensure!(matches!(status, 200 | 404), "frame {id} was answered by {status}");
            Ok((status == 404).then_some(id))
        });
        let checks: Vec<anyhow::Result<Option<String>>> = checks.buffered(8).collect().await;
        waiting = checks.into_iter().filter_map(Result::transpose).collect::<Result<_, _>>()?;
    }
    Ok(waiting.len())
}

/// An image of noise, which does not compress.
fn image() -> anyhow::Result<Bytes> {
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take((SIDE * SIDE * 3) as usize)
    .collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE, SIDE);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&noise)).context("an image")?;
    Ok(bytes.into())
}
