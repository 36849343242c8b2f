//! Time from a frame to its alert at 25, 50 and 80 % of the capacity.
//!
//! The services run in child processes: as `sightline up`, and as the four programs on Kafka and MongoDB. First the capacity is
//! measured with many concurrent frames. Then frames are sent on a schedule that does not wait for responses, and a subscriber to
//! `/v1/alerts` records when each alert arrives. Times are measured from the client's 202, and also from the time at which the
//! frame was due, so that delays of the sender count too.
//!
//! One run has a model that takes 5 ms and no CPU time, an HTTP engine in this process; another run has the installed face
//! model. The stages come from the timestamps in results and alerts, and from the means of the worker's histograms.

mod load;
pub mod services;
mod stages;
mod timings;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;

use super::RunLength;
use super::engine::Engine;
use super::namespace::Servers;
use super::report::{Goal, Report};
use super::stats::Times;
use load::Load;
use services::Services;
use stages::Stages;
use timings::{FrameTiming, over_time};

/// Inference time of the HTTP engine.
const MODEL: Duration = Duration::from_millis(5);
/// A photograph with one face, 320 pixels wide: NASA's portrait of Eileen Collins, in the public domain.
pub const PHOTO: &[u8] = include_bytes!("latency/face.jpg");
/// Loads in percent of the capacity. The goal is for 50 %.
const LOADS: [u32; 3] = [25, 50, 80];

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct LatencyBench {
    /// Photograph with a face to send [default: a built-in one of 320 by 320 pixels]
    #[arg(long, value_name = "FILE")]
    latency_photo: Option<PathBuf>,
}

impl LatencyBench {
    /// Measures every model on every available backend.
    pub async fn run(&self, servers: &Servers, run_length: RunLength) -> anyhow::Result<Report> {
        let photo = match &self.latency_photo {
            Some(file) => std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?.into(),
            None => Bytes::from_static(PHOTO),
        };
        let mut report = Report::new("latency");
        report.setting("photo_bytes", photo.len());
        report.setting("streams", load::STREAMS);
        let engine = Engine::start(MODEL).await?;
        for embedded in [true, false] {
            for model in [Some(&engine), None] {
                let place = if embedded { "embedded" } else { "Kafka + MongoDB" };
                let started = match embedded {
                    true => Services::embedded(model).await,
                    false => Services::on_servers(servers, model).await,
                };
                let name = format!("{place}, {}", if model.is_some() { "5 ms" } else { "faces" });
                match started {
                    Ok(services) => measure(&mut report, &name, model.is_some(), services, &photo, run_length).await?,
                    Err(error) => report.note(format!("{name} was not measured: {error:#}")),
                }
            }
        }
        Ok(report)
    }
}

async fn measure(
    report: &mut Report,
    name: &str,
    has_goal: bool,
    services: Services,
    photo: &Bytes,
    run_length: RunLength,
) -> anyhow::Result<()> {
    let load = Load::subscribe(&services, photo.clone()).await?;
    // Warm-up: connections, caches and first batches are not measured.
    load.at_capacity(run_length.pick(Duration::from_secs(5), Duration::from_secs(2))).await?;
    let capacity = load.at_capacity(run_length.pick(Duration::from_secs(10), Duration::from_secs(3))).await?;
    report.figure(format!("{name}: capacity"), capacity, "frames/s");
    let (mut medians, mut tails) = (Vec::new(), Vec::new());
    for percent in LOADS {
        let rate = capacity * f64::from(percent) / 100.0;
        let before = Stages::read(&services).await?;
        let frames = load.offer(rate, run_length.pick(Duration::from_secs(20), Duration::from_secs(5))).await?;
        let stages = Stages::read(&services).await?.since(&before);
        let at = format!("{name}, {percent} %");
        let times: Times = frames.iter().map(FrameTiming::since_accepted).collect();
        let since_due: Times = frames.iter().map(FrameTiming::since_due).collect();
        // The goals are for half of the capacity.
        let half = percent == 50;
        let mut add = |what: &str, value: f64, goal: f64| match has_goal && half {
            true => report.with_goal(format!("{at}: {what}"), value, "ms", Goal::AtMost(goal)),
            false => report.figure(format!("{at}: {what}"), value, "ms"),
        };
        add("accepted to alert, p50", times.ms(0.5), 60.0);
        add("accepted to alert, p99", times.ms(0.99), 150.0);
        add("beyond decode and inference, p50", times.ms(0.5) - stages.work(), 15.0);
        report.figure(format!("{at}: accepted to alert, worst"), times.ms(1.0), "ms");
        report.figure(format!("{at}: due to alert, p99"), since_due.ms(0.99), "ms");
        medians.push((f64::from(percent), times.ms(0.5)));
        tails.push((f64::from(percent), times.ms(0.99)));
        if half {
            let parts = stages.parts(&frames, &load.processed(&frames).await?);
            let whole: f64 = parts.iter().map(|(_, mean)| mean).sum();
            for (stage, mean) in &parts {
                report.figure(format!("{at}: {stage}, mean"), *mean, "ms");
                report.figure(format!("{at}: {stage}, share of due to alert"), 100.0 * mean / whole, "%");
            }
            report.series(
                name,
                "s",
                "ms from accepted to alert at half load, worst of each half second",
                over_time(&frames),
            );
        }
    }
    report.series(name, "% of capacity", "ms from accepted to alert, p50", medians);
    report.series(name, "% of capacity", "ms from accepted to alert, p99", tails);
    services.end().await
}
