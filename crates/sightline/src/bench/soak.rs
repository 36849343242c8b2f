//! Images of every size and format, over and over: whether memory stays where it is.
//!
//! `sightline up` runs in a process of its own with its own model. A few senders post images from tiny to twenty
//! megapixels, as JPEG, PNG and WebP, and wait for the results of each. Memory is looked at every second. It has to grow
//! at first, as every size comes for the first time and several large ones meet; what is promised is that it does not go on:
//! the last quarter of the time is compared with the second.

mod images;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::task::JoinSet;

use super::Pace;
use super::child::{Child, free_port};
use super::report::{Goal, Report};
use super::stats::Spread;
use images::Sample;

/// Senders, each of which waits for its image's results.
const SENDERS: usize = 4;
const MB: f64 = 1e6;

/// How long.
#[derive(Debug, Args)]
pub struct SoakBench {
    /// Minutes of images [default: 60, quick: 1]
    #[arg(long, value_name = "MINUTES")]
    soak_minutes: Option<f64>,

    /// Instead: until every image was sent so many times
    #[arg(long, value_name = "TIMES", conflicts_with = "soak_minutes")]
    soak_passes: Option<usize>,
}

/// When it is enough.
#[derive(Debug, Clone, Copy)]
enum Until {
    Time(Instant),
    Sent(usize),
}

struct Service {
    child: Child,
    url: String,
    token: String,
    _folder: tempfile::TempDir,
}

impl SoakBench {
    /// Sends until it is enough.
    pub async fn run(&self, pace: Pace) -> anyhow::Result<Report> {
        let images: Arc<[Sample]> = images::all()?.into();
        let length = Duration::from_secs_f64(60.0 * self.soak_minutes.unwrap_or_else(|| pace.of(60.0, 1.0)));
        let service = Service::start().await?;
        let (begun, meter) = (Instant::now(), service.child.meter()?);
        let before = meter.resident()? as f64 / MB;
        let until = match self.soak_passes {
            Some(passes) => Until::Sent(passes * images.len()),
            None => Until::Time(begun + length),
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
                _ = ticks.tick() => memory.push((begun.elapsed().as_secs_f64(), meter.resident()? as f64 / MB)),
            }
        }
        let mut report = Report::new("soak");
        report.setting("images", images.len());
        report.setting("senders", SENDERS);
        report.setting("seconds", begun.elapsed().as_secs());
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
    report.promised("the last to the second quarter", last / second, "×", Goal::AtMost(1.1));
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
        let mut child = Child::own(&["up"], &settings)?;
        let url = format!("http://{address}");
        child.ready(&url).await?;
        let token = std::fs::read_to_string(data.join("admin.token")).context("the admin's token")?.trim().to_owned();
        Ok(Self { child, url, token, _folder: folder })
    }
}

async fn send(
    url: String,
    token: String,
    images: Arc<[Sample]>,
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
        // In another order in every pass, so that other sizes meet.
        let place = (number * 7 + number / images.len()) % images.len();
        let Sample { name, media_type, bytes } = images.get(place).context("there are no images")?;
        let request = http.post(format!("{url}/v1/frames")).bearer_auth(&token).header("content-type", *media_type);
        let answer = request.header("prefer", "wait=30").body(bytes.clone()).send().await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        ensure!(matches!(status, 200 | 202), "{name} was answered by {status}: {text}");
        ensure!(!text.contains("\"failed\""), "{name} could not be looked at: {text}");
    }
}
