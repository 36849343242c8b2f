//! From a frame to its alert: how long it takes at a quarter, a half and four fifths of what the whole can bear.
//!
//! The whole runs as users run it, in processes of its own: `sightline up`, and the four programs on Kafka and `MongoDB`. What
//! it can bear is measured first, with many frames on their way at once. Then frames are sent by a schedule, whether or
//! not earlier ones were answered, and a subscriber to `/v1/alerts` notes when each one's alert arrives. Times count from
//! when the client had its 202, and also from when the frame was due, so that a sender that is held up hides nothing.
//!
//! Once with a model that takes 5 ms and no processor time, an engine behind HTTP in this process; and once with the model
//! of faces that is there. The stages come from what the pipeline says of itself: the times in results and alerts, and the
//! worker's histograms, of which the means count.

mod book;
mod load;
pub mod stack;
mod stages;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;

use super::Pace;
use super::engine::Engine;
use super::ground::Servers;
use super::report::{Goal, Report};
use super::stats::Times;
use book::{Frame, over_time};
use load::Load;
use stack::Stack;
use stages::Stages;

/// How long the model that takes no processor looks at an image.
const MODEL: Duration = Duration::from_millis(5);
/// A photograph with one face, 320 pixels wide: NASA's portrait of Eileen Collins, in the public domain.
pub const PHOTO: &[u8] = include_bytes!("latency/face.jpg");
/// Which loads are offered, in hundredths of what can be borne. Half is what the promise is about.
const LOADS: [u32; 3] = [25, 50, 80];

/// What to measure.
#[derive(Debug, Args)]
pub struct LatencyBench {
    /// Photograph with a face to send [default: one of 320 by 320 pixels that comes with this program]
    #[arg(long, value_name = "FILE")]
    latency_photo: Option<PathBuf>,
}

impl LatencyBench {
    /// Every model on every backend that is there.
    pub async fn run(&self, servers: &Servers, pace: Pace) -> anyhow::Result<Report> {
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
                    true => Stack::embedded(model).await,
                    false => Stack::on_servers(servers, model).await,
                };
                let name = format!("{place}, {}", if model.is_some() { "5 ms" } else { "faces" });
                match started {
                    Ok(stack) => measure(&mut report, &name, model.is_some(), stack, &photo, pace).await?,
                    Err(error) => report.note(format!("{name} was left out: {error:#}")),
                }
            }
        }
        Ok(report)
    }
}

async fn measure(
    report: &mut Report,
    name: &str,
    promised: bool,
    stack: Stack,
    photo: &Bytes,
    pace: Pace,
) -> anyhow::Result<()> {
    let load = Load::subscribe(&stack, photo.clone()).await?;
    // Connections, caches and the first batches of everything are not what is measured.
    load.at_capacity(pace.of(Duration::from_secs(5), Duration::from_secs(2))).await?;
    let capacity = load.at_capacity(pace.of(Duration::from_secs(10), Duration::from_secs(3))).await?;
    report.figure(format!("{name}: capacity"), capacity, "frames/s");
    let (mut medians, mut tails) = (Vec::new(), Vec::new());
    for percent in LOADS {
        let rate = capacity * f64::from(percent) / 100.0;
        let before = Stages::read(&stack).await?;
        let frames = load.offer(rate, pace.of(Duration::from_secs(20), Duration::from_secs(5))).await?;
        let stages = Stages::read(&stack).await?.since(&before);
        let at = format!("{name}, {percent} %");
        let times: Times = frames.iter().map(Frame::since_accepted).collect();
        let since_due: Times = frames.iter().map(Frame::since_due).collect();
        // What is promised, is promised for half of the load that can be borne.
        let half = percent == 50;
        let mut add = |what: &str, value: f64, goal: f64| match promised && half {
            true => report.promised(format!("{at}: {what}"), value, "ms", Goal::AtMost(goal)),
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
    stack.end().await
}
