//! The embedded log: how much goes through it, and how long a message takes from send to delivery.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::embedded::{BusSync, EmbeddedBus, Options};
use bus::{Bus, BusError, ConsumerOptions, Incoming};
use clap::Args;
use contracts::topics::DEFAULT;
use contracts::{Headers, Message, Role, Topics};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use super::Pace;
use super::report::{Goal, Report};
use super::stats::Times;

const FRAME_BYTES: usize = 70_000;
const SMALL_BYTES: usize = 1_000;
const PER_SECOND: u32 = 200;

/// What to measure it on.
#[derive(Debug, Args)]
pub struct BusBench {
    /// Folder on the disk to measure; one below it is made and removed [default: the system's temporary folder]
    #[arg(long, value_name = "PATH")]
    bus_dir: Option<PathBuf>,
}

impl BusBench {
    /// Frames from send through disk to a group's consumer in one process, as in `sightline up`.
    pub async fn run(&self, pace: Pace) -> anyhow::Result<Report> {
        let folder = self.bus_dir.clone().unwrap_or_else(std::env::temp_dir).join("sightline-bench-bus");
        // Long enough that the cache of the system does not hide the disk.
        let (bytes, length) = pace.of((2 << 30, Duration::from_secs(30)), (256 << 20, Duration::from_secs(5)));
        let mut report = Report::new("bus");
        report.setting("folder", folder.display().to_string());
        report.setting("frame_bytes", FRAME_BYTES);
        report.setting("messages_per_second", PER_SECOND);
        for sync in [BusSync::Process, BusSync::Full] {
            let (acknowledged, consumed) = throughput(&folder, sync, bytes / FRAME_BYTES).await?;
            let [large, small] = [
                latency(&folder, sync, FRAME_BYTES, length).await?,
                latency(&folder, sync, SMALL_BYTES, length).await?,
            ];
            // What is promised, is promised for the default; `full` waits for the disk.
            let promised = sync == BusSync::default();
            let mut add = |name: &str, value: f64, unit, goal: Option<Goal>| match goal.filter(|_| promised) {
                Some(goal) => report.promised(format!("{sync}: {name}"), value, unit, goal),
                None => report.figure(format!("{sync}: {name}"), value, unit),
            };
            add("acknowledged", acknowledged, "MB/s", None);
            add("consumed", consumed, "MB/s", Some(Goal::AtLeast(100.0)));
            for (name, times) in [("frames", large), ("1 kB", small)] {
                add(&format!("send to delivery, {name}, p50"), times.ms(0.5), "ms", None);
                add(&format!("send to delivery, {name}, p99"), times.ms(0.99), "ms", Some(Goal::AtMost(5.0)));
                add(&format!("send to delivery, {name}, worst"), times.ms(1.0), "ms", None);
            }
        }
        Ok(report)
    }
}

/// MB/s until everything was acknowledged, and until everything was consumed.
async fn throughput(folder: &Path, sync: BusSync, count: usize) -> anyhow::Result<(f64, f64)> {
    let bus = open(folder, sync)?;
    let consumer = bus.consumer(Role::Frames, "bench", ConsumerOptions::default()).await?;
    let consumed = tokio::spawn(consume(consumer, count));
    let begun = Instant::now();

    let producer = bus.producer();
    let mut unacknowledged = FuturesUnordered::new();
    for number in 0..count {
        loop {
            match producer.send(Role::Frames, frame(number, FRAME_BYTES)) {
                Ok(acknowledged) => break unacknowledged.push(acknowledged),
                Err(BusError::QueueFull) => {
                    unacknowledged.next().await.transpose()?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    while unacknowledged.next().await.transpose()?.is_some() {}
    let written = begun.elapsed();
    consumed.await??;
    let consumed = begun.elapsed();
    bus.close().await?;
    std::fs::remove_dir_all(folder).context("the folder cannot be removed")?;
    let rate = |time: Duration| (count * FRAME_BYTES) as f64 / 1e6 / time.as_secs_f64();
    Ok((rate(written), rate(consumed)))
}

async fn latency(folder: &Path, sync: BusSync, bytes: usize, length: Duration) -> anyhow::Result<Times> {
    let bus = open(folder, sync)?;
    let count = PER_SECOND as usize * usize::try_from(length.as_secs())?;
    let consumer = bus.consumer(Role::Frames, "bench", ConsumerOptions::default()).await?;
    let consumed = tokio::spawn(consume(consumer, count));

    let producer = bus.producer();
    let begun = Instant::now();
    let mut sent = Vec::with_capacity(count);
    for number in 0..count {
        let due = begun + Duration::from_secs(1) * u32::try_from(number)? / PER_SECOND;
        tokio::time::sleep_until(due.into()).await;
        let message = frame(number, bytes);
        // From when it was due: a sender that is held up must not hide it.
        sent.push(due);
        drop(producer.send(Role::Frames, message)?);
    }
    let taken = consumed.await??;
    bus.close().await?;
    std::fs::remove_dir_all(folder).context("the folder cannot be removed")?;
    Ok(taken.into_iter().map(|(number, at)| at.duration_since(sent[number])).collect())
}

fn open(folder: &Path, sync: BusSync) -> anyhow::Result<Arc<dyn Bus>> {
    let topics = Topics::parse(DEFAULT)?;
    Ok(Arc::new(EmbeddedBus::open(folder, &topics, Options { sync, ..Options::default() })?))
}

/// A frame with its number in a header and bytes that do not compress.
fn frame(number: usize, bytes: usize) -> Message {
    let mut state = number as u64 | 1;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()
    })
    .take(bytes / 8)
    .flatten()
    .collect();
    let headers = Headers::new().with("number", number).with("content-type", "image/jpeg");
    Message { key: Some(format!("tenant/camera-{}", number % 16).into()), headers, value: value.into() }
}

/// Takes `count` messages; gives their numbers with the time of their delivery.
async fn consume(mut consumer: Box<dyn bus::Consumer>, count: usize) -> anyhow::Result<Vec<(usize, Instant)>> {
    let finisher = consumer.finisher();
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        if let Incoming::Delivery(delivery) = consumer.next().await? {
            let number = delivery.message.headers.required("number")?;
            taken.push((number, Instant::now()));
            finisher.finished(delivery.position);
        }
    }
    consumer.close().await?;
    Ok(taken)
}
