//! Measures the log on a Kafka cluster: `cargo run --release -p bus --example kafka_bench host:port`.
//!
//! Prints messages and bytes a second from send to acknowledgement (`acks=all`) and to a group's consumer, processor time of
//! this process included, and the latency from send to delivery at 200 messages a second. The topics it makes have a prefix of
//! their own; they are left to retention, which drops them after an hour.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::kafka::admin;
use bus::{Bus, BusError, ConsumerOptions, Incoming, KafkaBus, KafkaConfig};
use contracts::topics::DEFAULT;
use contracts::{Headers, Message, Role, Topics};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use uuid::Uuid;

const FRAME_BYTES: usize = 68_000;
const SMALL_BYTES: usize = 1_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let brokers = std::env::args().nth(1).context("name the brokers: host:port")?;
    let prefix = format!("bench-{}.", Uuid::new_v4().simple());
    let topics = Topics::parse(DEFAULT)?.prefixed(&prefix).map(|topic| topic.retention = Duration::from_secs(3600));
    let config = KafkaConfig::new(brokers);
    admin::apply(&config, &topics, None).await?;
    for (group, bytes, count) in [("large", FRAME_BYTES, 10_000), ("small", SMALL_BYTES, 200_000)] {
        let bus = Arc::new(KafkaBus::connect(config.clone(), &topics).await?);
        throughput(&bus, &format!("{prefix}{group}"), bytes, count).await?;
        latency(&bus, bytes).await?;
        bus.close().await?;
    }
    Ok(())
}

async fn throughput(bus: &Arc<KafkaBus>, group: &str, bytes: usize, count: usize) -> anyhow::Result<()> {
    let before = bus.ranges(Role::Frames).await?.iter().map(|range| range.end - range.earliest).sum::<i64>();
    let (begun, used) = (Instant::now(), processor_time()?);
    let producer = bus.producer();
    let mut unacknowledged = FuturesUnordered::new();
    for number in 0..count {
        loop {
            match producer.send(Role::Frames, message(number, bytes)) {
                Ok(acknowledged) => break unacknowledged.push(acknowledged),
                Err(BusError::QueueFull) => drop(unacknowledged.next().await.transpose()?),
                Err(error) => return Err(error.into()),
            }
        }
    }
    while unacknowledged.next().await.transpose()?.is_some() {}
    print(&format!("{bytes} bytes, acknowledged"), count, bytes, begun, used)?;

    let (begun, used) = (Instant::now(), processor_time()?);
    let mut consumer = bus.consumer(Role::Frames, group, ConsumerOptions::default()).await?;
    let finisher = consumer.finisher();
    let mut left = usize::try_from(before)? + count;
    while left > 0 {
        if let Incoming::Delivery(delivery) = consumer.next().await? {
            finisher.finished(delivery.position);
            left -= 1;
        }
    }
    print(&format!("{bytes} bytes, consumed"), usize::try_from(before)? + count, bytes, begun, used)?;
    consumer.close().await?;
    Ok(())
}

async fn latency(bus: &Arc<KafkaBus>, bytes: usize) -> anyhow::Result<()> {
    let mut reader = bus.reader(Role::Frames, bus::Start::Latest).await?;
    let count = 2_000;
    let receiving = tokio::spawn(async move {
        let mut arrived = Vec::with_capacity(count);
        while arrived.len() < count {
            if let bus::ReaderItem::Delivery(delivery) = reader.next().await? {
                let sent: u64 = delivery.message.headers.required("sent")?;
                arrived.push(now().saturating_sub(sent));
            }
        }
        anyhow::Ok(arrived)
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    for number in 0..count {
        ticks.tick().await;
        drop(bus.producer().send(Role::Frames, message(number, bytes))?);
    }
    let mut latencies = receiving.await??;
    latencies.sort_unstable();
    let at = |share: usize| latencies[count * share / 100] as f64 / 1e3;
    println!("{bytes} bytes at 200 a second: p50 {:.1} ms, p99 {:.1} ms from send to delivery", at(50), at(99));
    Ok(())
}

fn message(number: usize, bytes: usize) -> Message {
    let headers = Headers::new().with("ce_id", number).with("sent", now());
    Message { key: Some(format!("stream-{}", number % 64).into()), headers, value: vec![0x5a; bytes].into() }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn print(what: &str, count: usize, bytes: usize, begun: Instant, used: f64) -> anyhow::Result<()> {
    let (seconds, used) = (begun.elapsed().as_secs_f64(), processor_time()? - used);
    let (rate, megabytes) = (count as f64 / seconds, (count * bytes) as f64 / 1e6);
    println!(
        "{what}: {rate:.0} messages/s, {:.0} MB/s; {:.0} messages and {:.0} MB per CPU-second",
        megabytes / seconds,
        count as f64 / used,
        megabytes / used
    );
    Ok(())
}

/// Processor time of this process in seconds, from Linux's `/proc`.
fn processor_time() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // The kernel counts in hundredths here, whatever its own clock.
    Ok(ticks as f64 / 100.0)
}
