//! Throughput of the log, and the time of a message from send to delivery. Measures the embedded log, and Kafka where brokers are
//! set.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::embedded::{BusSync, EmbeddedBus, Options};
use bus::kafka::admin;
use bus::{Bus, Consumer, ConsumerOptions, Incoming, KafkaBus, KafkaConfig};
use clap::Args;
use contracts::topics::DEFAULT;
use contracts::{Headers, Message, TopicRole, Topics};
use uuid::Uuid;

use super::RunLength;
use super::meter::Meter;
use super::namespace::Servers;
use super::report::{Goal, Report};
use super::sending::send_all;
use super::stats::Times;

const FRAME_BYTES: usize = 70_000;
const SMALL_BYTES: usize = 1_000;
const PER_SECOND: u32 = 200;

/// Where to measure.
#[derive(Debug, Args)]
pub struct BusBench {
    /// Folder on the disk to measure; the bench creates a folder in it and removes that at the end [default: the system's temporary folder]
    #[arg(long, value_name = "PATH")]
    bus_dir: Option<PathBuf>,
}

/// A log to measure. Every measurement opens an empty one.
#[derive(Clone)]
enum Log {
    Embedded { folder: PathBuf, sync: BusSync },
    Kafka(KafkaConfig),
}

/// An open log.
struct Open {
    log: Log,
    topics: Topics,
    bus: Arc<dyn Bus>,
}

/// Result of [`Open::throughput`].
struct Throughput {
    /// MB/s until everything was acknowledged.
    acknowledged: f64,
    /// MB/s until everything was consumed.
    consumed: f64,
    /// Messages sent and consumed per second of this process's processor time.
    per_cpu: f64,
}

impl BusBench {
    /// Measures frames from producer to consumer, both in this process, as in `sightline up`.
    pub async fn run(&self, servers: &Servers, run_length: RunLength) -> anyhow::Result<Report> {
        let folder = self.bus_dir.clone().unwrap_or_else(std::env::temp_dir).join("sightline-bench-bus");
        let mut report = Report::new("bus");
        report.setting("folder", folder.display().to_string());
        report.setting("frame_bytes", FRAME_BYTES);
        report.setting("messages_per_second", PER_SECOND);
        for sync in [BusSync::Process, BusSync::Full] {
            Log::Embedded { folder: folder.clone(), sync }.measure(&mut report, run_length).await?;
        }
        match servers.kafka()? {
            Some(config) => Log::Kafka(config).measure(&mut report, run_length).await?,
            None => report.note("Kafka was not measured: SIGHTLINE_KAFKA_BROKERS is not set"),
        }
        Ok(report)
    }
}

impl Log {
    fn name(&self) -> String {
        match self {
            Self::Embedded { sync, .. } => sync.to_string(),
            Self::Kafka(_) => "kafka".to_owned(),
        }
    }

    /// Whether the goals apply; `full` waits for the disk.
    fn has_goals(&self) -> bool {
        matches!(self, Self::Embedded { sync, .. } if *sync == BusSync::default())
    }

    async fn measure(&self, report: &mut Report, run_length: RunLength) -> anyhow::Result<()> {
        // Long enough that the page cache does not hide the disk.
        let (bytes, length) = run_length.pick((2 << 30, Duration::from_secs(30)), (256 << 20, Duration::from_secs(5)));
        let Throughput { acknowledged, consumed, per_cpu } = self.open().await?.throughput(bytes / FRAME_BYTES).await?;
        let large = self.open().await?.latency(FRAME_BYTES, length).await?;
        let small = self.open().await?.latency(SMALL_BYTES, length).await?;
        let mut add = |name: &str, value: f64, unit, goal: Option<Goal>| {
            let name = format!("{}: {name}", self.name());
            match goal.filter(|_| self.has_goals()) {
                Some(goal) => report.with_goal(name, value, unit, goal),
                None => report.figure(name, value, unit),
            }
        };
        add("acknowledged", acknowledged, "MB/s", None);
        add("consumed", consumed, "MB/s", Some(Goal::AtLeast(100.0)));
        add("sent and consumed", per_cpu, "frames/CPU-s", None);
        for (name, times) in [("frames", large), ("1 kB", small)] {
            add(&format!("send to delivery, {name}, p50"), times.ms(0.5), "ms", None);
            add(&format!("send to delivery, {name}, p99"), times.ms(0.99), "ms", Some(Goal::AtMost(5.0)));
            add(&format!("send to delivery, {name}, worst"), times.ms(1.0), "ms", None);
        }
        Ok(())
    }

    async fn open(&self) -> anyhow::Result<Open> {
        let topics = Topics::parse(DEFAULT)?;
        let log = self.clone();
        match self {
            Self::Embedded { folder, sync } => {
                let bus = EmbeddedBus::open(folder, &topics, Options { sync: *sync, ..Options::default() })?;
                Ok(Open { log, topics, bus: Arc::new(bus) })
            }
            Self::Kafka(config) => {
                let topics = topics.prefixed(&format!("bench-{}.", Uuid::new_v4().simple()));
                admin::apply(config, &topics, None).await?;
                let bus = KafkaBus::connect(config.clone(), &topics).await?;
                Ok(Open { log, topics, bus: Arc::new(bus) })
            }
        }
    }
}

impl Open {
    async fn throughput(self, count: usize) -> anyhow::Result<Throughput> {
        let consumer = self.consumer().await?;
        let meter = Meter::of(std::process::id());
        let (started, used) = (Instant::now(), meter.cpu()?);
        let consumed = tokio::spawn(consume(consumer, count));
        let producer = self.bus.producer();
        let frames = (0..count).map(|number| Ok(frame(number, FRAME_BYTES)));
        send_all(&*producer, TopicRole::Frames, frames).await?;
        let written = started.elapsed();
        consumed.await??;
        let (consumed, used) = (started.elapsed(), meter.cpu()? - used);
        self.remove().await?;
        let rate = |time: Duration| (count * FRAME_BYTES) as f64 / 1e6 / time.as_secs_f64();
        let per_cpu = count as f64 / used.as_secs_f64();
        Ok(Throughput { acknowledged: rate(written), consumed: rate(consumed), per_cpu })
    }

    async fn latency(self, bytes: usize, length: Duration) -> anyhow::Result<Times> {
        let count = PER_SECOND as usize * usize::try_from(length.as_secs())?;
        let consumed = tokio::spawn(consume(self.consumer().await?, count));
        let producer = self.bus.producer();
        let started = Instant::now();
        let mut sent = Vec::with_capacity(count);
        for number in 0..count {
            let due = started + Duration::from_secs(1) * u32::try_from(number)? / PER_SECOND;
            tokio::time::sleep_until(due.into()).await;
            let message = frame(number, bytes);
            // Measured from the time at which the message was due, so that delays of the sender count too.
            sent.push(due);
            drop(producer.send(TopicRole::Frames, message)?);
        }
        let taken = consumed.await??;
        self.remove().await?;
        Ok(taken.into_iter().map(|(number, at)| at.duration_since(sent[number])).collect())
    }

    /// A group member that has its partitions and received a first message.
    async fn consumer(&self) -> anyhow::Result<Box<dyn Consumer>> {
        let mut consumer = self.bus.consumer(TopicRole::Frames, "bench", ConsumerOptions::default()).await?;
        self.bus.producer().send(TopicRole::Frames, frame(0, SMALL_BYTES))?.await?;
        let first = loop {
            if let Incoming::Delivery(delivery) = consumer.next().await? {
                break delivery.position;
            }
        };
        consumer.finisher().finished(first);
        Ok(consumer)
    }

    async fn remove(self) -> anyhow::Result<()> {
        self.bus.close().await?;
        match self.log {
            Log::Embedded { folder, .. } => std::fs::remove_dir_all(folder).context("the folder cannot be removed"),
            Log::Kafka(config) => Ok(admin::delete(&config, &self.topics).await?),
        }
    }
}

/// A frame with its number in a header and incompressible bytes.
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

/// Consumes `count` messages; returns their numbers and delivery times.
async fn consume(mut consumer: Box<dyn Consumer>, count: usize) -> anyhow::Result<Vec<(usize, Instant)>> {
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
