//! Sends images of every size and format repeatedly and checks that memory stays constant.
//!
//! `sightline up` runs in a child process with its model. A few clients post images from tiny to twenty megapixels, as JPEG, PNG
//! and WebP, and wait for the results of each. Memory is sampled every second. It grows at first, when sizes occur for the first
//! time and large images coincide. The goal is that it does not keep growing: the last quarter of the run is compared with the
//! second.

mod images;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::task::JoinSet;

use super::RunLength;
use super::child::{ChildProcess, free_port};
use super::report::{Goal, Report};
use super::stats::Spread;
use images::SampleImage;

/// Number of clients; each waits for the results of its image.
const SENDERS: usize = 4;
const MB: f64 = 1e6;

/// Length of the bench.
#[derive(Debug, Args)]
pub struct SoakBench {
    /// Minutes of images [default: 60, quick: 1]
    #[arg(long, value_name = "MINUTES")]
    soak_minutes: Option<f64>,

    /// Passes over all images, instead of minutes
    #[arg(long, value_name = "TIMES", conflicts_with = "soak_minutes")]
    soak_passes: Option<usize>,
}

/// End of the run.
#[derive(Debug, Clone, Copy)]
enum Until {
    Time(Instant),
    Sent(usize),
}

struct Service {
    child: ChildProcess,
    url: String,
    token: String,
    _folder: tempfile::TempDir,
}

impl SoakBench {
    /// Sends images until the end of the run.
    pub async fn run(&self, run_length: RunLength) -> anyhow::Result<Report> {
        let images: Arc<[SampleImage]> = images::all()?.into();
        let length = Duration::from_secs_f64(60.0 * self.soak_minutes.unwrap_or_else(|| run_length.pick(60.0, 1.0)));
        let service = Service::start().await?;
        let (started, meter) = (Instant::now(), service.child.meter()?);
        let before = meter.resident()? as f64 / MB;
        let until = match self.soak_passes {
            Some(passes) => Until::Sent(passes * images.len()),
            None => Until::Time(started + length),
        };
        let sent = Arc::new(AtomicUsize::new(0));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            senders.spawn(send(service.url.clone(), service.token.clone(), images.clone(), sent.clone(), until));
        }
        let mut memory = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                ended = senders.join_next() => match ended {
                    Some(ended) => ended??,
                    None => break,
                },
                _ = ticks.tick() => memory.push((started.elapsed().as_secs_f64(), meter.resident()? as f64 / MB)),
            }
        }
        let mut report = Report::new("soak");
        report.setting("images", images.len());
        report.setting("senders", SENDERS);
        report.setting("seconds", started.elapsed().as_secs());
        show(&mut report, before, &memory, sent.load(Ordering::Relaxed));
        report.figure("memory, most", meter.peak()? as f64 / MB, "MB");
        report.series("memory", "s", "MB", memory);
        service.child.kill().await?;
        Ok(report)
    }
}

fn show(report: &mut Report, before: f64, memory: &[(f64, f64)], sent: usize) {
    let sizes: Vec<f64> = memory.iter().map(|(_, size)| *size).collect();
    let quarter = |number: usize| {
        let (from, to) = (sizes.len() * number / 4, sizes.len() * (number + 1) / 4);
        Spread::of(sizes.get(from..to).unwrap_or_default()).median
    };
    let (second, last) = (quarter(1), quarter(3));
    report.figure("images sent and answered", sent as f64, "");
    report.figure("memory before the first image", before, "MB");
    report.figure("memory in the second quarter", second, "MB");
    report.figure("memory in the last quarter", last, "MB");
    report.with_goal("the last to the second quarter", last / second, "×", Goal::AtMost(1.1));
}

impl Service {
    async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the embedded parts")?;
        let data = folder.path().join("data");
        let (address, admin) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
        let settings = [
            ("SIGHTLINE_DATA_DIR", data.display().to_string()),
            ("SIGHTLINE_HTTP_ADDR", address.clone()),
            ("SIGHTLINE_ADMIN_ADDR", admin),
        ];
        let mut child = ChildProcess::up(&settings)?;
        let url = format!("http://{address}");
        child.wait_until_ready(&url).await?;
        let token = std::fs::read_to_string(data.join("admin.token")).context("the admin's token")?.trim().to_owned();
        Ok(Self { child, url, token, _folder: folder })
    }
}

async fn send(
    url: String,
    token: String,
    images: Arc<[SampleImage]>,
    sent: Arc<AtomicUsize>,
    until: Until,
) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    loop {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let enough = match until {
            Until::Time(end) => Instant::now() >= end,
            Until::Sent(images) => number >= images,
        };
        if enough {
            sent.fetch_sub(1, Ordering::Relaxed);
            return Ok(());
        }
        // Each pass has another order, so that other sizes coincide.
        let place = (number * 7 + number / images.len()) % images.len();
        let SampleImage { name, media_type, bytes } = images.get(place).context("there are no images")?;
        let request = http.post(format!("{url}/v1/frames")).bearer_auth(&token).header("content-type", *media_type);
        let response = request.header("prefer", "wait=30").body(bytes.clone()).send().await?;
        let (status, text) = (response.status().as_u16(), response.text().await?);
        ensure!(matches!(status, 200 | 202), "{name} was answered by {status}: {text}");
        ensure!(!text.contains("\"failed\""), "{name} could not be processed: {text}");
    }
}
