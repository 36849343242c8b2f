//! A service with a folder of uploads and a log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bus::embedded::Options;
use bus::kafka::admin;
use bus::{Acknowledged, Bus, BusError, EmbeddedBus, KafkaBus, KafkaConfig, Producer, ReaderItem, Start};
use contracts::{
    Event, FaceVerifiedEvent, Headers, Message, TenantId, TopicRole, Topics, UploadOutcome, UserId, groups,
};
use faces::uploads::{UploadFolder, Uploads};
use jiff::Timestamp;
use store::Relational;
use store::relational::{NewUser, Role, UserLimit, UserWriteOutcome};
use tempfile::TempDir;
use testing::{BusChange, ChangedBus};
use tokio::sync::watch;
use uuid::Uuid;

use crate::test_service::TestService;

/// Bytes of a file.
pub const LIMIT: usize = 1_000_000;
/// Time limit for each step, so that a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// A service with a folder of uploads and a log.
pub struct TestUploads {
    pub service: TestService,
    /// The log, where a test reads and writes.
    pub bus: Arc<dyn Bus>,
    pub root: PathBuf,
    _folder: TempDir,
}

/// A user.
pub struct TestUser {
    pub id: UserId,
    pub tenant: TenantId,
}

impl TestUser {
    /// A credential that [`crate::test_service::Tenants`] knows.
    pub fn token(&self) -> String {
        format!("{}@{}", self.tenant, self.id)
    }
}

impl TestUploads {
    pub async fn start(models: Option<&Path>) -> Self {
        Self::start_on(models, |bus| bus).await
    }

    /// Without models, and with a log of the service whose answers the test decides; this one is the first.
    pub async fn start_answering(answer: Answer) -> (Self, Answers) {
        let (sender, receiver) = watch::channel(answer);
        let answers = Answers { answer: sender, refused: Arc::default() };
        let refused = Arc::clone(&answers.refused);
        let of_service =
            |bus| -> Arc<dyn Bus> { Arc::new(ChangedBus(AnsweringBus { bus, answer: receiver, refused })) };
        (Self::start_on(None, of_service).await, answers)
    }

    async fn start_on(models: Option<&Path>, of_service: impl FnOnce(Arc<dyn Bus>) -> Arc<dyn Bus>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap().map(|topic| topic.partitions = 1);
        let bus = EmbeddedBus::open(&folder.path().join("log"), &topics, Options::default()).unwrap();
        Self::on(models, folder, Arc::new(bus), of_service).await
    }

    /// On new topics of the test cluster, `SIGHTLINE_TEST_KAFKA_BROKERS`.
    pub async fn on_kafka() -> Self {
        let brokers = std::env::var("SIGHTLINE_TEST_KAFKA_BROKERS").expect("SIGHTLINE_TEST_KAFKA_BROKERS is set");
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
        let prefix = format!("uploads-{}-", Uuid::now_v7());
        let topics = topics.prefixed(&prefix).map(|topic| topic.partitions = 1);
        let config = KafkaConfig::new(brokers);
        admin::apply(&config, &topics, Some(1)).await.unwrap();
        let bus = KafkaBus::connect(config, &topics).await.unwrap();
        Self::on(None, tempfile::tempdir().unwrap(), Arc::new(bus), |bus| bus).await
    }

    async fn on(
        models: Option<&Path>,
        folder: TempDir,
        bus: Arc<dyn Bus>,
        of_service: impl FnOnce(Arc<dyn Bus>) -> Arc<dyn Bus>,
    ) -> Self {
        let root = folder.path().join("uploads");
        std::fs::create_dir(&root).unwrap();
        let uploads = Uploads::new(of_service(Arc::clone(&bus)), Arc::new(UploadFolder::open(&root, LIMIT).unwrap()));
        let service = TestService::start_on(models, &["--max-frame-bytes", &LIMIT.to_string()], Some(uploads)).await;
        Self { service, bus, root, _folder: folder }
    }

    pub fn database(&self) -> &Relational {
        &self.service.database
    }

    pub async fn user(&self, name: &str) -> TestUser {
        let (id, tenant) = (UserId::now(), Uuid::new_v4());
        let new = NewUser {
            id,
            tenant,
            username: Some(name.to_owned()),
            email: None,
            full_name: None,
            password: None,
            identity: None,
            role: Role::User,
            quota: UserLimit::Configured,
            rate_limit: UserLimit::Configured,
        };
        assert_eq!(self.database().add_user(&new, Timestamp::now()).await.unwrap(), UserWriteOutcome::Stored);
        TestUser { id, tenant: TenantId::from_uuid(tenant) }
    }

    /// Sends a message as another program does.
    pub async fn send(&self, value: impl Into<bytes::Bytes>) {
        let message = Message { key: None, headers: Headers::new(), value: value.into() };
        self.bus.producer().send(TopicRole::FacesUploads, message).unwrap().await.unwrap();
    }

    pub async fn upload(&self, username: &str, path: &str) {
        self.send(serde_json::json!({"username": username, "path": path}).to_string()).await;
    }

    /// Writes a file and sends its message.
    pub async fn upload_file(&self, username: &str, path: &str, content: &[u8]) {
        std::fs::write(self.root.join(path), content).unwrap();
        self.upload(username, path).await;
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

    /// Waits until every message is finished. Returns all events.
    pub async fn events(&self) -> Vec<FaceVerifiedEvent> {
        // Kafka has no answer while it chooses the coordinator of a new group.
        let finished = async || {
            let progress = self.bus.progress(TopicRole::FacesUploads, groups::FACES).await;
            progress.is_ok_and(|progress| progress.waiting == 0)
        };
        let waited = tokio::time::timeout(TIMEOUT, async {
            while !finished().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "a message is never finished");
        let messages = self.read(TopicRole::FacesVerified).await;
        messages.iter().map(|message| FaceVerifiedEvent::from_message(message).unwrap()).collect()
    }

    /// The outcome of each path.
    pub async fn outcomes(&self) -> BTreeMap<String, UploadOutcome> {
        self.events().await.into_iter().map(|event| (event.data.path, event.data.outcome)).collect()
    }

    /// The names in the folder.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.root).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub async fn wait_for_files(&self, count: usize) {
        wait_until("the folder has other files", || self.files().len() == count).await;
    }
}

async fn wait_until(otherwise: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(TIMEOUT, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{otherwise}");
}

/// What a log answers to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Refuse,
    /// Nothing yet.
    Hold,
    Accept,
}

/// Decides what the log of a service answers.
pub struct Answers {
    answer: watch::Sender<Answer>,
    refused: Arc<AtomicUsize>,
}

impl Answers {
    pub fn give(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    pub async fn wait_for_refusals(&self, count: usize) {
        wait_until("the service sends no message", || self.refused.load(Ordering::Relaxed) >= count).await;
    }
}

/// A log whose answers a test decides.
struct AnsweringBus {
    bus: Arc<dyn Bus>,
    answer: watch::Receiver<Answer>,
    refused: Arc<AtomicUsize>,
}

impl Producer for AnsweringBus {
    fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        let (producer, mut answer, refused) = (self.bus.producer(), self.answer.clone(), Arc::clone(&self.refused));
        Ok(Box::pin(async move {
            let answered = answer.wait_for(|answer| *answer != Answer::Hold).await.map(|answer| *answer);
            if matches!(answered, Ok(Answer::Accept)) {
                return producer.send(role, message)?.await;
            }
            refused.fetch_add(1, Ordering::Relaxed);
            Err(BusError::Unavailable("away".to_owned()))
        }))
    }
}

#[async_trait]
impl BusChange for AnsweringBus {
    fn inner(&self) -> &dyn Bus {
        &*self.bus
    }

    fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(Self { bus: Arc::clone(&self.bus), answer: self.answer.clone(), refused: Arc::clone(&self.refused) })
    }
}
