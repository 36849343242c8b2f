//! Measures the embedded log: `cargo run --release -p bus --example bus_bench [folder]`.
//!
//! Prints the throughput of 70 KB frames through send, disk and a group's consumer, and the latency from send to delivery at 200
//! messages a second. The folder (by default one under the system's temporary folder) is made and removed; name one on the disk
//! that is to be measured.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::embedded::{BusSync, EmbeddedBus, Options};
use bus::{Bus, BusError, ConsumerOptions, Incoming};
use contracts::topics::DEFAULT;
use contracts::{Headers, Message, Role, Topics};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

const FRAME_BYTES: usize = 70_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder =
        std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("sightline-bus-bench"), PathBuf::from);
    for sync in [BusSync::Process, BusSync::Full] {
        // Long enough that the cache of the system does not hide the disk.
        throughput(&folder, sync, 2 << 30).await?;
        latency(&folder, sync, FRAME_BYTES, Duration::from_secs(30)).await?;
        latency(&folder, sync, 1_000, Duration::from_secs(10)).await?;
    }
    Ok(())
}

async fn throughput(folder: &Path, sync: BusSync, total: usize) -> anyhow::Result<()> {
    let bus = open(folder, sync)?;
    let count = total / FRAME_BYTES;
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
    let closed = begun.elapsed();
    let rate = |time: Duration| (count * FRAME_BYTES) as f64 / 1e6 / time.as_secs_f64();
    println!(
        "{sync}: {count} frames of {FRAME_BYTES} bytes: acknowledged {:.0} MB/s, consumed {:.0} MB/s, closed {:.0} MB/s",
        rate(written),
        rate(consumed),
        rate(closed)
    );
    std::fs::remove_dir_all(folder).context("the folder cannot be removed")
}

async fn latency(folder: &Path, sync: BusSync, bytes: usize, length: Duration) -> anyhow::Result<()> {
    const PER_SECOND: u32 = 200;
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
        sent.push(Instant::now());
        drop(producer.send(Role::Frames, message)?);
    }
    let mut latencies: Vec<Duration> =
        consumed.await??.into_iter().map(|(number, at)| at.duration_since(sent[number])).collect();
    bus.close().await?;
    latencies.sort();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{sync}: {PER_SECOND} messages of {bytes} bytes a second, send to delivery: p50 {:.2?}, p99 {:.2?}, p99.9 {:.2?}, worst {:.2?}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    std::fs::remove_dir_all(folder).context("the folder cannot be removed")
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
