//! A running service with everything around it, gone when dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use accounts::{AccessError, Accounts, Caller, Right};
use async_trait::async_trait;
use bus::{ConsumerOptions, EmbeddedBus, Incoming, ReaderItem, Start};
use clap::Parser;
use contracts::result::ResultData;
use contracts::{Detection, Event, FrameEvent, FrameId, Message, Outcome, ResultEvent, Role, TenantId};
use ingest_api::{Config, Deps};
use jiff::Timestamp;
use platform::{Common, Health};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use store::{ObjectBlobs, SqliteDocuments};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// May do everything.
pub const ADMIN: &str = "token-of-the-admin";
/// May read only.
pub const READER: &str = "token-of-a-reader";
/// Another tenant's, who may do everything there.
pub const OTHER: &str = "token-of-another-tenant";

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    common: Common,
}

/// One service with its log and stores.
pub struct Site {
    pub deps: Deps,
    pub address: SocketAddr,
    pub client: Client,
    stop: CancellationToken,
    running: Vec<JoinHandle<anyhow::Result<()>>>,
    arguments: Vec<String>,
    _folder: TempDir,
}

impl Site {
    /// The service with these flags.
    pub async fn with(flags: &[&str]) -> Self {
        platform::telemetry::metrics();
        let folder = tempfile::tempdir().unwrap();
        let arguments: Vec<String> =
            std::iter::once("ingest-api").chain(flags.iter().copied()).map(str::to_owned).collect();
        let topics = Settings::parse_from(&arguments).common.topics().unwrap();
        let bus = EmbeddedBus::open(&folder.path().join("bus"), &topics, bus::embedded::Options::default()).unwrap();
        let deps = Deps {
            bus: Arc::new(bus),
            documents: Arc::new(SqliteDocuments::open(folder.path().join("documents.db")).unwrap()),
            blobs: Arc::new(ObjectBlobs::folder(folder.path().join("blobs")).unwrap()),
            accounts: Arc::new(Guests),
            besides: Health::default(),
        };
        let (client, stop) = (Client::builder().no_proxy().build().unwrap(), CancellationToken::new());
        let address = "127.0.0.1:0".parse().unwrap();
        let mut site = Self { deps, address, client, stop, running: Vec::new(), arguments, _folder: folder };
        site.address = site.replica().await;
        site
    }

    /// The service as it comes.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// One more of the same service on the same log and stores.
    pub async fn replica(&mut self) -> SocketAddr {
        let Settings { config, common } = Settings::parse_from(&self.arguments);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let run = ingest_api::run(config, common, self.deps.clone(), listener, self.stop.clone());
        self.running.push(tokio::spawn(run));
        address
    }

    /// A request of the admin's.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(ADMIN, method, path)
    }

    /// A request with this token.
    pub fn request_as(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).bearer_auth(token)
    }

    /// The admin sends a picture.
    pub fn send(&self, path_and_query: &str, picture: Vec<u8>) -> RequestBuilder {
        self.request(Method::POST, path_and_query).header("content-type", "image/png").body(picture)
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
    pub async fn message(&self, role: Role, skip: usize) -> Message {
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
    pub async fn messages(&self, role: Role) -> i64 {
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
            let mut consumer = bus.consumer(Role::Frames, &group, ConsumerOptions::default()).await.unwrap();
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
                    bus.producer().send(Role::Replies, message.clone()).unwrap().await.unwrap();
                }
                bus.producer().send(Role::Results, message).unwrap().await.unwrap();
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

/// A handful of fixed callers.
struct Guests;

#[async_trait]
impl Accounts for Guests {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        let (tenant, rights) = match token {
            ADMIN => (TenantId::admin(), vec![Right::DetectionsRead, Right::FramesWrite, Right::RulesWrite]),
            READER => (TenantId::admin(), vec![Right::DetectionsRead]),
            OTHER => ("other".parse().unwrap(), vec![Right::DetectionsRead, Right::FramesWrite, Right::RulesWrite]),
            _ => return Err(AccessError::InvalidCredential),
        };
        Ok(Caller {
            tenant,
            user: None,
            session: None,
            sees_all: token == ADMIN,
            rights,
            rate_limit: None,
            valid_until: None,
        })
    }

    async fn charge(&self, _: &Caller, _: FrameId) -> Result<(), AccessError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), AccessError> {
        Ok(())
    }
}

/// What a picture's file begins with, and `length` bytes in all.
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
