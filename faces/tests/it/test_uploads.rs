//! A service with a folder of uploads and a log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bus::embedded::Options;
use bus::kafka::admin;
use bus::{
    Acknowledged, Bus, BusError, Consumer, ConsumerOptions, EmbeddedBus, KafkaBus, KafkaConfig, Producer, Range,
    Reader, ReaderItem, Start,
};
use contracts::{
    Event, FaceVerifiedEvent, Headers, Message, TenantId, TopicRole, Topics, UploadOutcome, UserId, groups,
};
use faces::uploads::{UploadFolder, Uploads};
use jiff::Timestamp;
use store::Relational;
use store::relational::{NewUser, Role, UserLimit, UserWriteOutcome};
use tempfile::TempDir;
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

    /// With a log of the service that is made of this one.
    pub async fn start_on(models: Option<&Path>, of_service: impl FnOnce(Arc<dyn Bus>) -> Arc<dyn Bus>) -> Self {
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
        let uploads =
            Uploads { bus: of_service(Arc::clone(&bus)), folder: Arc::new(UploadFolder::open(&root, LIMIT).unwrap()) };
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
        let finished = async || self.bus.progress(TopicRole::FacesUploads, groups::FACES).await.unwrap().waiting == 0;
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
}

/// A log that accepts no message.
pub struct RefusingBus(pub Arc<dyn Bus>);

impl Producer for RefusingBus {
    fn send(&self, _: TopicRole, _: Message) -> Result<Acknowledged, BusError> {
        Ok(Box::pin(async { Err(BusError::Unavailable("away".to_owned())) }))
    }
}

#[async_trait]
impl Bus for RefusingBus {
    fn describe(&self) -> String {
        "refusing".to_owned()
    }

    fn topic(&self, role: TopicRole) -> &str {
        self.0.topic(role)
    }

    fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(Self(Arc::clone(&self.0)))
    }

    async fn consumer(
        &self,
        role: TopicRole,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Box<dyn Consumer>, BusError> {
        self.0.consumer(role, group, options).await
    }

    async fn reader(&self, role: TopicRole, start: Start) -> Result<Box<dyn Reader>, BusError> {
        self.0.reader(role, start).await
    }

    async fn reader_of(&self, role: TopicRole, ranges: &[Range]) -> Result<Box<dyn Reader>, BusError> {
        self.0.reader_of(role, ranges).await
    }

    async fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError> {
        self.0.ranges(role).await
    }

    async fn topic_id(&self, role: TopicRole) -> Result<String, BusError> {
        self.0.topic_id(role).await
    }

    async fn unconsumed(&self, role: TopicRole, group: &str) -> Result<Vec<Range>, BusError> {
        self.0.unconsumed(role, group).await
    }

    async fn oldest_unconsumed(&self, role: TopicRole, group: &str) -> Result<Option<SystemTime>, BusError> {
        self.0.oldest_unconsumed(role, group).await
    }

    async fn check(&self) -> Result<(), BusError> {
        self.0.check().await
    }

    async fn close(&self) -> Result<(), BusError> {
        self.0.close().await
    }
}
