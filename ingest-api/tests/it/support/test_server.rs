//! A running service with its log and stores. They stop when the value is dropped.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use accounts::{AccountsService, Actor, AdminToken, Clock, Hashing, Scope, TokenArgs, UserAccess, WithAdminToken};
use bus::{ConsumerOptions, EmbeddedBus, Incoming, ReaderItem, Start};
use clap::Parser;
use contracts::{Event, FrameEvent, Message, ResultEvent, TopicRole};
use ingest_api::{Config, Deps, SharedArgs};
use jiff::Timestamp;
use platform::Health;
use reqwest::Client;
use store::relational::UserRecord;
use store::{Blobs, Documents, FilesInUse, ObjectBlobs, Relational, SqliteDocuments, tenant_erasers};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{TestMailer, TestStorage, TokenAliases, backend_addresses, face, registration, result_of};

/// The operator's token, with every scope.
/// A token as `sightline up --cameras` makes it.
pub const CAMERA: &str = "token-of-a-camera";
pub const ADMIN: &str = "token-of-the-admin-with-thirty-two-characters-and-more";
/// Time limit for every wait of a test.
pub const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    common: SharedArgs,
    #[command(flatten)]
    tokens: TokenArgs,
}

/// One service with its log and stores.
pub struct TestServer {
    pub deps: Deps,
    pub address: SocketAddr,
    pub client: Client,
    pub clock: Clock,
    pub mailer: Arc<TestMailer>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
    arguments: Vec<String>,
    storage: TestStorage,
}

impl TestServer {
    /// The service with default settings on embedded backends.
    pub async fn start() -> Self {
        Self::with_flags(&[]).await
    }

    /// The service with these flags on embedded backends.
    pub async fn with_flags(flags: &[&str]) -> Self {
        Self::on(TestStorage::embedded(), flags).await
    }

    /// The service with these flags, its accounts on the PostgreSQL and Redis that the environment names.
    pub async fn on_real_backends(flags: &[&str]) -> Self {
        let (database, redis) = backend_addresses();
        Self::on(TestStorage::on_backends(&database, &redis), flags).await
    }

    /// The service with its accounts on PostgreSQL and Redis at these addresses.
    pub async fn on_backends_at(database: &str, redis: &str) -> Self {
        Self::on(TestStorage::on_backends(database, redis), &[]).await
    }

    /// The service with its rate limits and sessions on the Redis at this address.
    pub async fn with_redis_at(url: &str) -> Self {
        Self::on(TestStorage::with_redis(url), &[]).await
    }

    async fn on(storage: TestStorage, flags: &[&str]) -> Self {
        platform::telemetry::start_metrics();
        let arguments: Vec<String> =
            std::iter::once("ingest-api").chain(flags.iter().copied()).map(str::to_owned).collect();
        let settings = Settings::parse_from(&arguments);
        let topics = settings.common.topics.load().unwrap();
        let (clock, mailer, stop) = (Clock::default(), Arc::new(TestMailer::default()), CancellationToken::new());
        let folder = storage.folder();
        let documents: Arc<dyn Documents> = Arc::new(SqliteDocuments::open(folder.join("documents.db")).unwrap());
        let blobs: Arc<dyn Blobs> = Arc::new(ObjectBlobs::folder(folder.join("blobs")).unwrap());
        let stores = (&documents, &blobs);
        let accounts_service = open_accounts(&settings, &storage, mailer.clone(), clock.clone(), stores).await;
        let maintenance = tokio::spawn(maintain(accounts_service.clone(), stop.clone()));
        let bus = EmbeddedBus::open(&folder.join("bus"), &topics, bus::embedded::Options::default()).unwrap();
        let deps = Deps {
            bus: Arc::new(bus),
            documents,
            blobs,
            // A shared database has users of other tests, so no user has a fixed name.
            accounts: Arc::new(WithAdminToken::new(
                AdminToken::limited(CAMERA, &[Scope::FramesWrite]),
                if storage.is_shared() {
                    accounts_service.with_admin_token(ADMIN).unwrap()
                } else {
                    Arc::new(TokenAliases::create(&accounts_service).await)
                },
            )),
            accounts_service,
            subjects: storage.accounts().await.0,
            files_in_use: FilesInUse::default(),
            other_services: Health::default(),
            other_routes: api_kit::describe::Routes::default(),
            traces: platform::traces::Traces::off(),
        };
        let client = Client::builder().no_proxy().build().unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let tasks = vec![maintenance];
        let mut server = Self { deps, address, client, clock, mailer, stop, tasks, arguments, storage };
        server.address = server.replica().await;
        server
    }

    /// A second HTTP server on the same log, stores and accounts.
    pub async fn replica(&mut self) -> SocketAddr {
        self.serve(self.deps.clone()).await
    }

    /// A second HTTP server on the same log and stores, with separate accounts, as in another process.
    pub async fn second_instance(&mut self) -> SocketAddr {
        let settings = Settings::parse_from(&self.arguments);
        let stores = (&self.deps.documents, &self.deps.blobs);
        let (mailer, clock) = (self.mailer.clone(), self.clock.clone());
        let accounts_service = open_accounts(&settings, &self.storage, mailer, clock, stores).await;
        self.tasks.push(tokio::spawn(maintain(accounts_service.clone(), self.stop.clone())));
        let accounts = accounts_service.with_admin_token(ADMIN).unwrap();
        self.serve(Deps { accounts, accounts_service, ..self.deps.clone() }).await
    }

    async fn serve(&mut self, deps: Deps) -> SocketAddr {
        let Settings { config, common, .. } = Settings::parse_from(&self.arguments);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let run = ingest_api::run(config, common, deps, listener, self.stop.clone());
        self.tasks.push(tokio::spawn(run));
        address
    }

    /// Creates a user of this name with the default scopes and [`super::PASSWORD`].
    pub async fn create_user(&self, name: &str) -> UserRecord {
        self.create_user_with(name, UserAccess::default()).await
    }

    /// Creates a user of this name with these scopes and [`super::PASSWORD`].
    pub async fn create_user_with(&self, name: &str, granted: UserAccess) -> UserRecord {
        self.deps.accounts_service.register(&registration(name), granted, &Actor::default()).await.unwrap()
    }

    /// Another handle of the accounts' database, without a cache of answers.
    pub async fn database(&self) -> Relational {
        self.storage.accounts().await.0
    }

    /// The folder of all embedded stores.
    pub fn folder(&self) -> &Path {
        self.storage.folder()
    }

    /// The message of a topic at index `skip`, from the beginning.
    pub async fn message(&self, role: TopicRole, skip: usize) -> Message {
        let mut reader = self.deps.bus.reader(role, Start::Earliest).await.unwrap();
        let mut left = skip;
        loop {
            let item = tokio::time::timeout(TIMEOUT, reader.next()).await.expect("a message").unwrap();
            match item {
                ReaderItem::Delivery(delivery) if left == 0 => return delivery.message,
                ReaderItem::Delivery(_) => left -= 1,
                ReaderItem::Gap { .. } => {}
            }
        }
    }

    /// Number of messages in a topic.
    pub async fn message_count(&self, role: TopicRole) -> i64 {
        let ranges = self.deps.bus.ranges(role).await.unwrap();
        ranges.iter().map(|range| range.end - range.earliest).sum()
    }

    /// Writes a result to the documents like the indexer.
    pub async fn index(&self, result: ResultEvent) {
        self.index_with_alerts(result, Vec::new()).await;
    }

    /// Writes a result and its alerts to the documents like the indexer.
    pub async fn index_with_alerts(&self, result: ResultEvent, alerts: Vec<contracts::AlertEvent>) {
        let indexed = store::Indexed {
            result,
            alerts,
            indexed_at: Timestamp::now(),
            expires_at: "9999-01-01T00:00:00Z".parse().unwrap(),
            strangers_expire_at: None,
        };
        self.deps.documents.put(&[indexed]).await.unwrap();
    }

    /// Starts a worker that finds one face in every frame.
    pub fn spawn_worker(&self) -> JoinHandle<()> {
        let bus = self.deps.bus.clone();
        tokio::spawn(async move {
            let group = contracts::groups::detector_worker(&["face".parse().unwrap()]);
            let mut consumer = bus.consumer(TopicRole::Frames, &group, ConsumerOptions::default()).await.unwrap();
            let finisher = consumer.finisher();
            loop {
                let Ok(incoming) = consumer.next().await else { return };
                let Incoming::Delivery(delivery) = incoming else { continue };
                let frame = FrameEvent::from_message(&delivery.message).unwrap();
                let mut result = result_of(frame.id, vec![face(0.9)]);
                result.tenant = frame.tenant;
                result.reply_to = frame.reply_to;
                result.data.captured_at = frame.captured_at;
                let message = result.to_message();
                if result.reply_to.is_some() {
                    bus.producer().send(TopicRole::Replies, message.clone()).unwrap().await.unwrap();
                }
                bus.producer().send(TopicRole::Results, message).unwrap().await.unwrap();
                finisher.finished(delivery.position);
            }
        })
    }

    /// Stops the service like a signal.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.unwrap().unwrap();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs the maintenance of accounts until `stop`.
async fn maintain(accounts_service: Arc<AccountsService>, stop: CancellationToken) -> anyhow::Result<()> {
    accounts_service.run(stop).await;
    Ok(())
}

async fn open_accounts(
    settings: &Settings,
    storage: &TestStorage,
    mailer: Arc<TestMailer>,
    clock: Clock,
    (documents, blobs): (&Arc<dyn Documents>, &Arc<dyn Blobs>),
) -> Arc<AccountsService> {
    let (database, shared) = storage.accounts().await;
    database.migrate().await.unwrap();
    // The defaults, except for the cost of a password hash and for pauses that a test would wait for.
    let hashing = Hashing { memory_kib: 8, passes: 1, threads: 1, waiting: 1000 };
    let defaults = settings.config.accounts.settings(&settings.tokens);
    let settings = accounts::Settings { hashing, revocation_poll: Duration::from_millis(50), ..defaults };
    let erasers = tenant_erasers(documents, blobs, &database);
    let deps = accounts::Deps { shared, mailer, clock, erasers };
    AccountsService::open(database, settings, deps).await.unwrap()
}
