//! A running service with everything around it, gone when dropped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use accounts::{
    AccessError, Accounts, By, Caller, Clock, Decision, Granted, Hashing, Mail, Mailer, Registration, Right, Secret,
};
use async_trait::async_trait;
use bus::{ConsumerOptions, EmbeddedBus, Incoming, ReaderItem, Start};
use clap::Parser;
use contracts::result::ResultData;
use contracts::{Detection, Event, FrameEvent, FrameId, Message, Outcome, ResultEvent, TenantId, TopicRole};
use ingest_api::{Config, Deps, Directory, Shared};
use jiff::Timestamp;
use platform::config::TokenArgs;
use platform::{Common, Health};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use store::relational::{Allowance, Role as UserRole, UserRecord};
use store::{ObjectBlobs, Relational, SqliteDocuments};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The operator's own token, which may do everything.
pub const ADMIN: &str = "token-of-the-admin-with-thirty-two-characters-and-more";
/// Stands for a token of the operator's user that may read only.
pub const READER: &str = "token-of-a-reader";
/// Stands for a token of another user, without limits, who may do everything there.
pub const OTHER: &str = "token-of-another-tenant";
/// The password of every user that is made here.
pub const PASSWORD: &str = "lamp ostrich kettle";

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    tokens: TokenArgs,
}

/// One service with its log and stores.
pub struct Site {
    pub deps: Deps,
    pub address: SocketAddr,
    pub client: Client,
    pub clock: Clock,
    pub mails: Arc<Mails>,
    stop: CancellationToken,
    running: Vec<JoinHandle<anyhow::Result<()>>>,
    arguments: Vec<String>,
    ground: Ground,
}

/// What lies under a site.
struct Ground {
    folder: TempDir,
    /// PostgreSQL and Redis, where accounts are there and not in the folder and the process.
    servers: Option<(String, String)>,
}

impl Ground {
    fn own() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), servers: None }
    }

    /// PostgreSQL and Redis at these addresses. Users of other tests are there too.
    fn at(database: &str, redis: &str) -> Self {
        Self { servers: Some((database.to_owned(), redis.to_owned())), ..Self::own() }
    }

    async fn accounts(&self) -> (Relational, Shared) {
        match &self.servers {
            Some((database, redis)) => {
                (Relational::postgres(database, 8).await.unwrap(), Shared::redis(redis).unwrap())
            }
            None => {
                let database = Relational::sqlite(self.folder.path().join("accounts.sqlite")).await.unwrap();
                (database, Shared::in_process())
            }
        }
    }
}

/// Where the environment says that PostgreSQL and Redis are.
pub fn servers() -> (String, String) {
    let set = |name: &str| std::env::var(name).expect("`make test-real` names servers");
    (set("SIGHTLINE_TEST_DATABASE_URL"), set("SIGHTLINE_TEST_REDIS_URL"))
}

/// Keeps what would be mailed.
#[derive(Default)]
pub struct Mails(Mutex<Vec<Mail>>);

#[async_trait]
impl Mailer for Mails {
    async fn send(&self, mail: &Mail) -> Result<(), String> {
        self.0.lock().unwrap().push(mail.clone());
        Ok(())
    }
}

impl Mails {
    /// The next mail, once there is one.
    pub async fn next(&self) -> Mail {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(mail) = self.0.lock().unwrap().pop() {
                return mail;
            }
            assert!(tokio::time::Instant::now() < deadline, "no mail was sent");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many there are that nobody took.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Site {
    /// The service with these flags.
    pub async fn with(flags: &[&str]) -> Self {
        Self::on(Ground::own(), flags).await
    }

    /// The service with these flags, its accounts on the servers that the environment names.
    pub async fn on_servers(flags: &[&str]) -> Self {
        let (database, redis) = servers();
        Self::on(Ground::at(&database, &redis), flags).await
    }

    /// The service with its accounts on servers at these addresses.
    pub async fn on_servers_at(database: &str, redis: &str) -> Self {
        Self::on(Ground::at(database, redis), &[]).await
    }

    async fn on(ground: Ground, flags: &[&str]) -> Self {
        platform::telemetry::metrics();
        let folder = ground.folder.path();
        let arguments: Vec<String> =
            std::iter::once("ingest-api").chain(flags.iter().copied()).map(str::to_owned).collect();
        let settings = Settings::parse_from(&arguments);
        let topics = settings.common.topics().unwrap();
        let (clock, mails, stop) = (Clock::default(), Arc::new(Mails::default()), CancellationToken::new());
        let directory = directory(&settings, &ground, mails.clone(), clock.clone()).await;
        let going_on = tokio::spawn(directory.clone().run(stop.clone()));
        let bus = EmbeddedBus::open(&folder.join("bus"), &topics, bus::embedded::Options::default()).unwrap();
        let deps = Deps {
            bus: Arc::new(bus),
            documents: Arc::new(SqliteDocuments::open(folder.join("documents.db")).unwrap()),
            blobs: Arc::new(ObjectBlobs::folder(folder.join("blobs")).unwrap()),
            accounts: if ground.servers.is_none() {
                Arc::new(Nicknames::of(&directory).await)
            } else {
                directory.with_operator(ADMIN).unwrap()
            },
            directory,
            other_services: Health::default(),
        };
        let client = Client::builder().no_proxy().build().unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let running = vec![going_on];
        let mut site = Self { deps, address, client, clock, mails, stop, running, arguments, ground };
        site.address = site.replica().await;
        site
    }

    /// The service as it comes.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// One more of the same service on the same log and stores.
    pub async fn replica(&mut self) -> SocketAddr {
        self.replica_with(self.deps.clone()).await
    }

    /// One more of the same service on the same log and stores, with accounts as another process has them.
    pub async fn other_process(&mut self) -> SocketAddr {
        let settings = Settings::parse_from(&self.arguments);
        let (mails, clock) = (self.mails.clone(), self.clock.clone());
        let directory = directory(&settings, &self.ground, mails, clock).await;
        self.running.push(tokio::spawn(directory.clone().run(self.stop.clone())));
        let accounts = directory.with_operator(ADMIN).unwrap();
        self.replica_with(Deps { accounts, directory, ..self.deps.clone() }).await
    }

    async fn replica_with(&mut self, deps: Deps) -> SocketAddr {
        let Settings { config, common, .. } = Settings::parse_from(&self.arguments);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let run = ingest_api::run(config, common, deps, listener, self.stop.clone());
        self.running.push(tokio::spawn(run));
        address
    }

    /// A user of this name with the usual password, who may what everybody may.
    pub async fn user(&self, name: &str) -> UserRecord {
        self.user_with(name, Granted::default()).await
    }

    /// A user who may something else.
    pub async fn user_with(&self, name: &str, granted: Granted) -> UserRecord {
        self.deps.directory.users.register(&registration(name), granted, &By::default()).await.unwrap()
    }

    /// The answer to a form.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        let mut body = String::new();
        for (name, value) in fields {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(&format!("{name}={}", escaped(value)));
        }
        let form = "application/x-www-form-urlencoded";
        let request = self.client.post(format!("http://{}{path}", self.address)).header("content-type", form);
        request.body(body).send().await.unwrap()
    }

    /// What a user of this name gets who signs in.
    pub async fn sign_in(&self, name: &str) -> Value {
        let fields = [("grant_type", "password"), ("username", name), ("password", PASSWORD)];
        let response = self.form("/v1/token", &fields).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    /// An access token of a user of this name.
    pub async fn access_token(&self, name: &str) -> String {
        self.sign_in(name).await["access_token"].as_str().unwrap().to_owned()
    }

    /// Where everything is kept.
    pub fn folder(&self) -> &std::path::Path {
        self.ground.folder.path()
    }

    /// A request without a credential.
    pub fn stranger(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// A request of the admin's.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(ADMIN, method, path)
    }

    /// A request with this token.
    pub fn request_as(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).bearer_auth(token)
    }

    /// The admin sends an image.
    pub fn send(&self, path_and_query: &str, image: Vec<u8>) -> RequestBuilder {
        self.request(Method::POST, path_and_query).header("content-type", "image/png").body(image)
    }

    /// The JSON at a path.
    pub async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.unwrap();
        let status = response.status();
        let body = response.text().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The next message of a role from the beginning, after `skip` others.
    pub async fn message(&self, role: TopicRole, skip: usize) -> Message {
        let mut reader = self.deps.bus.reader(role, Start::Earliest).await.unwrap();
        let mut left = skip;
        loop {
            let item = tokio::time::timeout(PATIENCE, reader.next()).await.expect("a message").unwrap();
            match item {
                ReaderItem::Delivery(delivery) if left == 0 => return delivery.message,
                ReaderItem::Delivery(_) => left -= 1,
                ReaderItem::Gap { .. } => {}
            }
        }
    }

    /// How many messages a role has.
    pub async fn messages(&self, role: TopicRole) -> i64 {
        let ranges = self.deps.bus.ranges(role).await.unwrap();
        ranges.iter().map(|range| range.end - range.earliest).sum()
    }

    /// Puts a result into the documents as the indexer does.
    pub async fn index(&self, result: ResultEvent) {
        let indexed = store::Indexed {
            result,
            alerts: Vec::new(),
            indexed_at: Timestamp::now(),
            expires_at: "9999-01-01T00:00:00Z".parse().unwrap(),
        };
        self.deps.documents.put(&[indexed]).await.unwrap();
    }

    /// Starts a worker that finds one face in every frame.
    pub fn worker(&self) -> JoinHandle<()> {
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

    /// Stops the service as a signal does.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for running in self.running.drain(..) {
            running.await.unwrap().unwrap();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn directory(settings: &Settings, ground: &Ground, mails: Arc<Mails>, clock: Clock) -> Directory {
    let (database, shared) = ground.accounts().await;
    database.migrate().await.unwrap();
    // What is usual, but for the cost of a password and what a test would wait for.
    let hashing = Hashing { memory_kib: 8, passes: 1, threads: 1, waiting: 1000 };
    let usual = ingest_api::settings(&settings.tokens, &settings.config.accounts);
    let settings = accounts::Settings { hashing, poll: Duration::from_millis(50), ..usual };
    Directory::open(database, settings, shared, mails, clock).await.unwrap()
}

/// Somebody of this name with the usual password.
pub fn registration(name: &str) -> Registration {
    Registration {
        username: Some(name.to_owned()),
        email: Some(format!("{name}@example.org")),
        full_name: None,
        password: Some(Secret::new(PASSWORD)),
        identity: None,
    }
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Real accounts, to some of whose tokens tests have names.
struct Nicknames {
    accounts: Arc<dyn Accounts>,
    reader: String,
    other: String,
}

impl Nicknames {
    async fn of(directory: &Directory) -> Self {
        let users = &directory.users;
        let accounts = directory.with_operator(ADMIN).unwrap();
        let operator = users.operator().await.unwrap();
        let without = Granted { role: UserRole::User, quota: Allowance::Unlimited, rate_limit: Allowance::Unlimited };
        let other = users.register(&registration("other"), without, &By::default()).await.unwrap();
        let token = async |user: &UserRecord, rights: &[Right]| {
            let caller = Caller {
                tenant: user.tenant.clone(),
                user: Some(user.id),
                session: None,
                sees_all: false,
                rights: rights.to_vec(),
                rate_limit: None,
                valid_until: None,
            };
            let made = users.add_api_token(&caller, "nickname", rights, None, &By::default()).await;
            made.unwrap().1.expose().to_owned()
        };
        let reader = token(&operator, &[Right::DetectionsRead]).await;
        let other = token(&other, Right::of(UserRole::User)).await;
        Self { accounts, reader, other }
    }
}

#[async_trait]
impl Accounts for Nicknames {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        let meant = match token {
            READER => &self.reader,
            OTHER => &self.other,
            token => token,
        };
        self.accounts.authenticate(meant).await
    }

    async fn admit(&self, caller: &Caller) -> Result<Option<Decision>, AccessError> {
        self.accounts.admit(caller).await
    }

    async fn charge(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        self.accounts.charge(caller, frame).await
    }

    async fn refund(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        self.accounts.refund(caller, frame).await
    }

    async fn check(&self) -> Result<(), AccessError> {
        self.accounts.check().await
    }
}

/// What an image's file begins with, and `length` bytes in all.
pub fn png(width: u32, height: u32, length: usize) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    bytes.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
    bytes.extend([8, 2, 0, 0, 0]);
    bytes.resize(length.max(bytes.len()), 0x5a);
    bytes
}

/// As [`png`].
pub fn jpeg(width: u16, height: u16, length: usize) -> Vec<u8> {
    let mut bytes = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08".to_vec();
    bytes.extend([height.to_be_bytes(), width.to_be_bytes()].concat());
    bytes.resize(length.max(bytes.len()), 0x5a);
    bytes
}

/// One face.
pub fn face(confidence: f64) -> Detection {
    serde_json::from_value(serde_json::json!({
        "label": "face", "confidence": confidence, "box": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0},
    }))
    .unwrap()
}

/// What the detector `face` says about a frame of the admin's.
pub fn result_of(frame_id: FrameId, detections: Vec<Detection>) -> ResultEvent {
    ResultEvent {
        id: frame_id.uuid(),
        tenant: TenantId::admin(),
        key: frame_id.to_string(),
        traceparent: None,
        reply_to: None,
        data: ResultData {
            frame_id,
            stream: None,
            detector: "face".parse().unwrap(),
            model: "yunet".to_owned(),
            captured_at: Timestamp::now(),
            processed_at: Timestamp::now(),
            outcome: Outcome::Ok { width: 640, height: 480, detections, image: None },
        },
    }
}

/// Checks that an answer is a problem and returns its code.
pub async fn problem(response: reqwest::Response) -> (StatusCode, String, String) {
    let status = response.status();
    let media_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let body = response.text().await.unwrap();
    assert_eq!(media_type.as_deref(), Some("application/problem+json"), "{status} {body}");
    let problem: contracts::api::Problem = serde_json::from_str(&body).unwrap();
    assert_eq!(problem.status, status.as_u16());
    (status, problem.code, problem.detail)
}
