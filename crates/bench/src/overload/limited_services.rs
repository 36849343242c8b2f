//! All services with low limits, and the resulting memory bound of each process.

use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

use crate::child::{ChildProcess, free_port};
use crate::engine::Engine;
use crate::meter::Meter;
use crate::namespace::{Servers, TestNamespace};

const MIB: u64 = 1 << 20;
/// Limits of the run, in bytes and pixels; the memory bound is their sum.
const INGEST_BYTES: u64 = 64 * MIB;
const WORKER_BYTES: u64 = 32 * MIB;
const WORKER_PIXELS: u64 = 8_000_000;
const ALERT_WINDOW: u64 = 2_000;
/// Bytes per pixel while decoding.
const PIXEL: u64 = 10;
/// Bytes that a connection may have read ahead (`Limits::buffer`).
const CONNECTION: u64 = 64 << 10;
/// Bytes that a Kafka client may queue: to send, and prefetched plus in transit.
const PRODUCER: u64 = 64 * MIB;
const CONSUMER: u64 = (16 + 16) * MIB;
/// Bytes of unfinished deliveries (`ConsumerOptions`).
const UNFINISHED: u64 = 64 * MIB;
/// Bytes of an alert in the window, with its index entries.
const ALERT: u64 = 4 << 10;
/// Bytes for code, stacks and caches of a process after its first work.
const BASE: u64 = 48 * MIB;

/// A process and its memory bound.
pub struct Program {
    pub name: &'static str,
    pub bound: u64,
    child: ChildProcess,
}

/// All services, running.
pub struct LimitedServices {
    pub url: String,
    pub token: String,
    pub programs: Vec<Program>,
    /// Address of the worker's metrics.
    worker_metrics: String,
    http: reqwest::Client,
    namespace: Option<TestNamespace>,
    _folder: TempDir,
}

type Settings = Vec<(&'static str, String)>;

impl Program {
    /// The bound is the memory at the start, plus `allowed`, plus half of `allowed` for what an allocator does not return.
    fn new(name: &'static str, child: ChildProcess, allowed: u64) -> anyhow::Result<Self> {
        let bound = child.meter()?.resident()? + BASE + allowed * 3 / 2;
        Ok(Self { name, bound, child })
    }

    /// Processor time and memory of the process.
    pub fn meter(&self) -> anyhow::Result<Meter> {
        self.child.meter()
    }
}

impl LimitedServices {
    /// The four services on Kafka and MongoDB.
    pub async fn on_servers(
        servers: &Servers,
        engine: &Engine,
        retention: &str,
        connections: u32,
    ) -> anyhow::Result<Self> {
        let namespace = TestNamespace::create_with(servers, |text| frames_kept(text, retention)).await?;
        let folder = tempfile::tempdir().context("no folder for the worker")?;
        let limits = limits(engine, folder.path())?;
        let start = |name: &str, own: Settings| {
            let (http, admin) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
            let addresses = vec![("SIGHTLINE_HTTP_ADDR", http.clone()), ("SIGHTLINE_ADMIN_ADDR", admin.clone())];
            let child = ChildProcess::service(name, &namespace.settings(&[addresses, limits.clone(), own].concat()))?;
            anyhow::Ok((child, format!("http://{http}"), format!("http://{admin}")))
        };
        let (mut alerts, alerts_url, _) = start("alert-stream", Settings::new())?;
        let (mut ingest, url, _) = start("ingest-api", vec![("SIGHTLINE_ALERT_STREAM_URL", alerts_url.clone())])?;
        let (mut worker, _, worker_admin) = start("detector-worker", Settings::new())?;
        let (mut indexer, _, indexer_admin) = start("indexer", Settings::new())?;
        alerts.wait_until_ready(&alerts_url).await?;
        ingest.wait_until_ready(&url).await?;
        worker.wait_until_ready(&worker_admin).await?;
        indexer.wait_until_ready(&indexer_admin).await?;
        let programs = vec![
            Program::new("ingest-api", ingest, ingest_bytes(connections) + PRODUCER + CONSUMER)?,
            Program::new("detector-worker", worker, worker_bytes() + PRODUCER + CONSUMER)?,
            Program::new("indexer", indexer, UNFINISHED + PRODUCER + CONSUMER)?,
            Program::new("alert-stream", alerts, ALERT_WINDOW * ALERT + CONSUMER)?,
        ];
        let (token, worker_metrics) = (namespace.token.clone(), format!("{worker_admin}/metrics"));
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { url, token, programs, worker_metrics, http, namespace: Some(namespace), _folder: folder })
    }

    /// `sightline up` on embedded parts.
    pub async fn embedded(engine: &Engine, retention: &str, connections: u32) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no folder for the embedded parts")?;
        let data = folder.path().join("data");
        let (url, admin) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
        let topics = folder.path().join("topics.yaml");
        std::fs::write(&topics, frames_kept(contracts::topics::DEFAULT, retention))?;
        let mut settings = limits(engine, folder.path())?;
        settings.extend([
            ("SIGHTLINE_DATA_DIR", data.display().to_string()),
            ("SIGHTLINE_TOPICS_FILE", topics.display().to_string()),
            ("SIGHTLINE_HTTP_ADDR", url.clone()),
            ("SIGHTLINE_ADMIN_ADDR", admin.clone()),
        ]);
        let mut up = ChildProcess::up(&settings)?;
        let url = format!("http://{url}");
        up.wait_until_ready(&url).await?;
        let token = std::fs::read_to_string(data.join("admin.token")).context("the admin's token")?.trim().to_owned();
        let log = PRODUCER + 2 * UNFINISHED;
        let allowed = ingest_bytes(connections) + worker_bytes() + ALERT_WINDOW * ALERT + log;
        let programs = vec![Program::new("sightline up", up, allowed)?];
        let http = reqwest::Client::builder().no_proxy().build()?;
        let worker_metrics = format!("http://{admin}/metrics");
        Ok(Self { url, token, programs, worker_metrics, http, namespace: None, _folder: folder })
    }

    /// Frames that the worker has finished so far.
    pub async fn done(&self) -> anyhow::Result<f64> {
        let text = self.http.get(&self.worker_metrics).send().await?.error_for_status()?.text().await?;
        let lines = text.lines().filter(|line| line.starts_with("sightline_worker_frames_total"));
        Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// Kills the processes and deletes their data.
    pub async fn end(self) -> anyhow::Result<()> {
        for program in self.programs {
            program.child.kill().await?;
        }
        match self.namespace {
            Some(namespace) => namespace.delete().await,
            None => Ok(()),
        }
    }
}

const fn ingest_bytes(connections: u32) -> u64 {
    INGEST_BYTES + connections as u64 * CONNECTION
}

const fn worker_bytes() -> u64 {
    WORKER_BYTES + WORKER_PIXELS * PIXEL + vision::pixels::BUFFER_POOL_BYTES as u64
}

fn limits(engine: &Engine, folder: &Path) -> anyhow::Result<Settings> {
    let models = folder.join("models.yaml");
    engine.describe(&models)?;
    Ok(vec![
        ("SIGHTLINE_MODELS_FILE", models.display().to_string()),
        ("SIGHTLINE_WORKER_STATE_DIR", folder.join("worker").display().to_string()),
        ("SIGHTLINE_INFERENCE_THREADS", "1".to_owned()),
        ("SIGHTLINE_INGEST_BYTES_IN_FLIGHT", INGEST_BYTES.to_string()),
        ("SIGHTLINE_WORKER_BYTES", WORKER_BYTES.to_string()),
        ("SIGHTLINE_WORKER_PIXELS", WORKER_PIXELS.to_string()),
        ("SIGHTLINE_MAX_FRAME_PIXELS", WORKER_PIXELS.to_string()),
        ("SIGHTLINE_ALERT_WINDOW", ALERT_WINDOW.to_string()),
        ("SIGHTLINE_KEEP_IMAGES", "false".to_owned()),
    ])
}

/// The topics file with another retention of `frames`, the first topic in it.
fn frames_kept(topics: &str, retention: &str) -> String {
    topics.replacen("retention: 24h", &format!("retention: {retention}"), 1)
}
