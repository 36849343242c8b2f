//! Worker processes on a Kafka cluster, with topics that are deleted at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bus::KafkaArgs;
use bus::kafka::{KafkaBus, KafkaConfig, admin};
use bytes::Bytes;
use contracts::{DetectorName, Topics, groups};

use super::load::Load;
use super::measured::Cost;
use crate::child::{ChildProcess, free_port, program};
use crate::namespace;

/// Time limit for the assignment of partitions.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Topics and the workers that consume them.
pub struct Cluster {
    config: KafkaConfig,
    topics: Topics,
    load: Load,
    workers: Vec<Worker>,
}

/// A worker process.
struct Worker {
    child: ChildProcess,
    admin: String,
}

/// Settings of the workers.
pub struct Start<'s> {
    /// Connection to Kafka.
    pub kafka: &'s KafkaArgs,
    /// Settings that all variants share.
    pub settings: Vec<(&'static str, String)>,
    /// The detector; it determines the consumer group.
    pub detector: &'s DetectorName,
    /// The images.
    pub images: Vec<Bytes>,
    /// Folder for state, kept images and the topics file.
    pub folder: PathBuf,
}

impl Cluster {
    /// Creates the topics and starts one worker per entry of `cores`, pinned to that core if there is one.
    pub async fn start(with: Start<'_>, cores: &[Option<usize>]) -> anyhow::Result<Self> {
        let kafka = namespace::kafka_config(with.kafka)?;
        let name = format!("bench-{}", uuid::Uuid::now_v7().simple());
        let text = contracts::topics::DEFAULT
            .replace("name: sightline.", &format!("name: {name}."))
            .replace("partitions: 12", "partitions: 8");
        std::fs::create_dir_all(&with.folder)?;
        let file = with.folder.join("topics.yaml");
        std::fs::write(&file, &text)?;
        let topics = Topics::parse(&text)?;
        admin::apply(&kafka, &topics, None).await?;
        let bus = Arc::new(KafkaBus::connect(kafka.clone(), &topics).await?);
        let warm = with.images.len().max(64);
        let load =
            Load::new(bus, groups::detector_worker(std::slice::from_ref(with.detector)), with.images.clone()).await?;
        let mut cluster = Self { config: kafka, topics, load, workers: Vec::new() };
        for (number, core) in cores.iter().enumerate() {
            cluster.workers.push(Worker::start(&with, &file, number, *core)?);
        }
        for worker in &mut cluster.workers {
            worker.child.wait_until_ready(&worker.admin).await?;
        }
        cluster.warm(warm).await?;
        Ok(cluster)
    }

    /// Sends frames until every worker has processed one.
    async fn warm(&mut self, frames: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            self.load.go(frames).await?;
            let mut idle = 0;
            for worker in &self.workers {
                idle += usize::from(!worker.metrics().await?.contains("sightline_worker_frames_total{outcome=\"ok\"}"));
            }
            if idle == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{idle} of {} workers got no partition within {TIMEOUT:?}", self.workers.len());
            }
        }
    }

    /// Processes this many frames. The second value is the rate in frames/s while all workers were busy.
    pub async fn go(&mut self, frames: usize) -> anyhow::Result<(Cost, f64)> {
        let (before, started) = (self.cpu()?, Instant::now());
        let times = self.load.go(frames).await?;
        let cost = Cost { frames, cpu: self.cpu()?.saturating_sub(before), wall: started.elapsed() };
        // Excludes the start, when queues fill, and the end, when the last worker works alone.
        let (first, last) = (times.len() / 10, times.len() * 8 / 10);
        let window = times.get(first).zip(times.get(last)).map_or(0.0, |(first, last)| (*last - *first).as_secs_f64());
        Ok((cost, (last - first) as f64 / window))
    }

    /// Kills the workers and deletes the topics.
    pub async fn end(self) -> anyhow::Result<()> {
        for worker in self.workers {
            worker.child.kill().await?;
        }
        drop(self.load);
        admin::delete(&self.config, &self.topics).await.context("the bench's topics could not be deleted")
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.workers.iter().map(|worker| worker.child.meter()?.cpu()).sum()
    }
}

impl Worker {
    fn start(with: &Start<'_>, topics: &Path, number: usize, core: Option<usize>) -> anyhow::Result<Self> {
        let admin = format!("127.0.0.1:{}", free_port()?);
        let folder = |name: &str| with.folder.join(format!("{name}-{number}")).display().to_string();
        let mut settings = with.settings.clone();
        settings.extend([
            ("SIGHTLINE_KAFKA_BROKERS", with.kafka.brokers()?.to_owned()),
            ("SIGHTLINE_TOPICS_FILE", topics.display().to_string()),
            ("SIGHTLINE_BLOB_URL", format!("file://{}", folder("blobs"))),
            ("SIGHTLINE_WORKER_STATE_DIR", folder("state")),
            ("SIGHTLINE_ADMIN_ADDR", admin.clone()),
        ]);
        if let Some(properties) = &with.kafka.kafka_properties {
            settings.push(("SIGHTLINE_KAFKA_PROPERTIES", properties.expose().to_owned()));
        }
        let child = match core {
            None => ChildProcess::service("detector-worker", &settings)?,
            Some(core) => {
                let worker = program("detector-worker")?.display().to_string();
                ChildProcess::start(Path::new("taskset"), &["-c", &core.to_string(), &worker], &settings)?
            }
        };
        Ok(Self { child, admin: format!("http://{admin}") })
    }

    async fn metrics(&self) -> anyhow::Result<String> {
        Ok(reqwest::get(format!("{}/metrics", self.admin)).await?.text().await?)
    }
}
