//! An embedded log, a store, and indexers that connect them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bus::embedded::Options;
use bus::{Bus, EmbeddedBus, ReaderItem, Start};
use clap::Parser;
use contracts::result::ResultData;
use contracts::{
    AlertEvent, Attributes, DeadLetter, Detection, Event, FrameId, Message, Outcome, ResultEvent, TenantId, TopicRole,
    Topics, Vehicle,
};
use indexer::{Config, Deps};
use jiff::Timestamp;
use rules::BuiltInRuleSettings;
use store::{Documents, ResultStore, SqliteDocuments, StoredResult, TenantScope};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Time limit for each step, so that a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    built_ins: BuiltInRuleSettings,
}

/// A log and a store.
pub struct TestIndexer {
    pub bus: Arc<dyn Bus>,
    pub documents: Arc<dyn Documents>,
    _folder: Option<TempDir>,
}

/// A running indexer.
pub struct Running {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl TestIndexer {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
        let topics = topics.map(|topic| topic.partitions = topic.partitions.min(3));
        let bus = EmbeddedBus::open(&folder.path().join("log"), &topics, Options::default()).unwrap();
        let documents = SqliteDocuments::open(folder.path().join("documents.db")).unwrap();
        Self { bus: Arc::new(bus), documents: Arc::new(documents), _folder: Some(folder) }
    }

    pub fn of(bus: Arc<dyn Bus>, documents: Arc<dyn Documents>) -> Self {
        Self { bus, documents, _folder: None }
    }

    /// Starts an indexer with these command-line options.
    pub fn index(&self, flags: &[&str]) -> Running {
        self.index_into(self.documents.clone(), flags)
    }

    /// Starts an indexer that writes results to another store.
    pub fn index_into(&self, documents: Arc<dyn ResultStore>, flags: &[&str]) -> Running {
        let Settings { config, built_ins } = Settings::parse_from([&["indexer"], flags].concat());
        let deps = Deps {
            bus: Arc::clone(&self.bus),
            documents,
            rules: self.documents.clone(),
            watchlists: self.documents.clone(),
            traces: platform::traces::Traces::off(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(indexer::run(config, built_ins, deps, stop.clone()));
        Running { stop, task }
    }

    /// Publishes a message on `results`.
    pub async fn publish(&self, message: Message) {
        self.bus.producer().send(TopicRole::Results, message).unwrap().await.unwrap();
    }

    /// All messages of a topic.
    pub async fn read(&self, role: TopicRole) -> Vec<Message> {
        let ranges = self.bus.ranges(role).await.unwrap();
        let mut left: i64 = ranges.iter().map(|range| range.end - range.earliest).sum();
        let mut reader = self.bus.reader(role, Start::Earliest).await.unwrap();
        let mut messages = Vec::new();
        while left > 0 {
            match tokio::time::timeout(TIMEOUT, reader.next()).await.unwrap().unwrap() {
                ReaderItem::Delivery(delivery) => messages.push(delivery.message),
                ReaderItem::Gap { from, to, .. } => panic!("{from}..{to} is gone"),
            }
            left -= 1;
        }
        messages
    }

    pub async fn alerts(&self) -> Vec<AlertEvent> {
        self.read(TopicRole::Alerts).await.iter().map(|message| AlertEvent::from_message(message).unwrap()).collect()
    }

    pub async fn dead_letters(&self) -> Vec<DeadLetter> {
        self.read(TopicRole::ResultsDlq)
            .await
            .iter()
            .map(|message| DeadLetter::from_message(message).unwrap())
            .collect()
    }

    pub async fn frame(&self, id: FrameId) -> Vec<StoredResult> {
        self.documents.frame(&TenantScope::All, id).await.unwrap()
    }

    /// Waits until these frames are stored.
    pub async fn indexed(&self, frames: &[FrameId]) {
        for frame in frames {
            eventually(&format!("frame {frame} is indexed"), async || !self.frame(*frame).await.is_empty()).await;
        }
    }

    /// Waits until the group has committed everything.
    pub async fn all_finished(&self) {
        eventually("everything is finished", async || {
            let oldest = self.bus.oldest_unconsumed(TopicRole::Results, contracts::groups::INDEXER).await.unwrap();
            oldest.is_none()
        })
        .await;
    }
}

impl Running {
    /// Stops the indexer like a signal, and waits until it has ended without error.
    pub async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(TIMEOUT, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Ends the indexer like kill -9.
    pub async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }

    /// Waits until the indexer fails; returns its error.
    pub async fn failed(self) -> String {
        format!("{:#}", tokio::time::timeout(TIMEOUT, self.task).await.unwrap().unwrap().unwrap_err())
    }
}

/// Waits until `holds` returns true.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < TIMEOUT, "not within {TIMEOUT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A detection with this confidence.
pub fn detection(label: &str, confidence: f64) -> Detection {
    Detection {
        label: label.to_owned(),
        confidence,
        bounds: None,
        landmarks: Vec::new(),
        attributes: Attributes::default(),
    }
}

/// A red Audi with a string, a number and a boolean in addition to the vehicle's own fields.
pub fn red_audi() -> Detection {
    let vehicle = Vehicle { category: Some("suv".to_owned()), make: Some("Audi".to_owned()), ..Vehicle::default() };
    let mut attributes = Attributes::from(Vehicle { year: Some(2020), ..vehicle });
    attributes.set("colour".parse().unwrap(), "red");
    attributes.set("doors".parse().unwrap(), 4);
    attributes.set("parked".parse().unwrap(), true);
    Detection { attributes, ..detection("car", 0.9) }
}

/// A result of the detector `face` for a new frame of the admin's tenant.
pub fn result(detections: Vec<Detection>) -> ResultEvent {
    let frame_id = FrameId::now();
    let now = Timestamp::now().round(jiff::Unit::Millisecond).unwrap();
    ResultEvent {
        id: Uuid::now_v7(),
        tenant: TenantId::admin(),
        key: frame_id.to_string(),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        reply_to: None,
        retention: None,
        data: ResultData {
            frame_id,
            stream: Some("gate-1".parse().unwrap()),
            detector: "face".parse().unwrap(),
            model: "test".to_owned(),
            captured_at: now,
            processed_at: now,
            outcome: Outcome::Ok { width: 640, height: 480, detections, image: None },
        },
    }
}
