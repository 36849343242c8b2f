//! An embedded log in a new folder, and a bus that fails on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bus::embedded::Options;
use bus::{Acknowledged, Bus, BusError, Consumer, ConsumerOptions, EmbeddedBus, Producer, Progress, ReaderItem, Start};
use contracts::{DeadLetter, Event, FrameContent, FrameEvent, FrameId, Headers, Message, TenantId, TopicRole, Topics};
use jiff::Timestamp;
use tempfile::TempDir;
use testing::BusChange;

/// Time limit for each step, so that a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(30);

pub struct TestLog {
    pub bus: Arc<dyn Bus>,
    _folder: TempDir,
}

impl TestLog {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap().map(|topic| topic.partitions = 1);
        let bus = Arc::new(EmbeddedBus::open(folder.path(), &topics, Options::default()).unwrap());
        Self { bus, _folder: folder }
    }

    pub async fn send(&self, role: TopicRole, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.bus.producer().send(role, message).unwrap().await.unwrap();
        }
    }

    pub async fn read(&self, role: TopicRole) -> Vec<Message> {
        let ranges = self.bus.ranges(role).await.unwrap();
        let count: i64 = ranges.iter().map(|range| range.end - range.earliest).sum();
        let mut reader = self.bus.reader(role, Start::Earliest).await.unwrap();
        let mut messages = Vec::new();
        for _ in 0..count {
            match tokio::time::timeout(TIMEOUT, reader.next()).await.unwrap().unwrap() {
                ReaderItem::Delivery(delivery) => messages.push(delivery.message),
                ReaderItem::Gap { .. } => {}
            }
        }
        messages
    }

    pub async fn dead_letters(&self, role: TopicRole) -> Vec<DeadLetter> {
        self.read(role).await.iter().map(|message| DeadLetter::from_message(message).unwrap()).collect()
    }

    /// Whether the group has committed everything.
    pub async fn is_consumed(&self, role: TopicRole, group: &str) -> bool {
        let Progress { finished, waiting, .. } = self.bus.progress(role, group).await.unwrap();
        finished > 0 && waiting == 0
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

pub fn frame(stream: &str) -> Message {
    let frame = FrameEvent {
        id: FrameId::now(),
        tenant: TenantId::shared(),
        stream: Some(stream.parse().unwrap()),
        captured_at: Timestamp::UNIX_EPOCH,
        detectors: Vec::new(),
        retention: None,
        content_type: "image/png".to_owned(),
        content: FrameContent::Inline("bytes".into()),
        reply_to: None,
        traceparent: None,
    };
    frame.to_message()
}

pub fn garbage() -> Message {
    Message { key: Some("k".into()), headers: Headers::new(), value: "garbage".into() }
}

/// Fails the next `failures` calls of `consumer` and `send`, and the next `lost` acknowledgements.
pub struct FlakyBus {
    pub inner: Arc<dyn Bus>,
    pub failures: Arc<AtomicUsize>,
    pub lost: Arc<AtomicUsize>,
    pub error: BusError,
}

impl FlakyBus {
    pub fn new(inner: &Arc<dyn Bus>, failures: usize, error: BusError) -> Self {
        Self { inner: Arc::clone(inner), failures: Arc::new(AtomicUsize::new(failures)), lost: Arc::default(), error }
    }
}

/// Uses up one of the failures. Returns `false` if none is left.
fn take(failures: &AtomicUsize) -> bool {
    failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl BusChange for FlakyBus {
    fn inner(&self) -> &dyn Bus {
        &*self.inner
    }

    fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(FlakyProducer {
            inner: self.inner.producer(),
            failures: self.failures.clone(),
            lost: self.lost.clone(),
            error: self.error.clone(),
        })
    }

    async fn consumer(
        &self,
        role: TopicRole,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Box<dyn Consumer>, BusError> {
        if take(&self.failures) {
            return Err(self.error.clone());
        }
        self.inner.consumer(role, group, options).await
    }
}

struct FlakyProducer {
    inner: Arc<dyn Producer>,
    failures: Arc<AtomicUsize>,
    lost: Arc<AtomicUsize>,
    error: BusError,
}

impl Producer for FlakyProducer {
    fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        if take(&self.failures) {
            return Err(self.error.clone());
        }
        let acknowledged = self.inner.send(role, message)?;
        if take(&self.lost) {
            let error = self.error.clone();
            return Ok(Box::pin(async move { acknowledged.await.and(Err(error)) }));
        }
        Ok(acknowledged)
    }
}
