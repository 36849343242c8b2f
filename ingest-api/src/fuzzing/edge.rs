//! The edge with nothing behind it but some documents: requests in, answers out, and what was published with them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use accounts::{AccessError, Accounts, Caller, Clock, Hashing, LogMailer, Right, Settings as AccountSettings};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bus::{Acknowledged, Bus, BusError, Consumer, ConsumerOptions, Position, Producer, Progress, Range, Reader, Start};
use bytes::Bytes;
use clap::Parser;
use contracts::alert::AlertData;
use contracts::result::ResultData;
use contracts::{AlertEvent, AlertId, Detection, FrameId, Message, Outcome, ResultEvent, RuleId, TenantId, TopicRole};
use futures::FutureExt;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use jiff::Timestamp;
use platform::{Common, Health};
use store::{Documents, Indexed, ObjectBlobs, Relational, SqliteDocuments};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::app::App;
use crate::{Config, Deps, Directory, Shared};

/// Largest image in pixels.
pub const MAX_PIXELS: u64 = 1_000_000;
/// Nobody listens on this port, and no result is waited for.
const FLAGS: [&str; 6] = [
    "ingest-api",
    "--alert-stream-url=http://127.0.0.1:1",
    "--ingest-wait-seconds=0",
    "--max-frame-bytes=65536",
    "--max-frame-pixels=1000000",
    "--ingest-bytes-in-flight=1048576",
];

/// What came of a request.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub media_type: Option<String>,
    pub body: Bytes,
    pub published: Vec<Message>,
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    common: Common,
}

/// The edge of this process.
pub struct Edge {
    runtime: Runtime,
    router: Router,
    documents: Arc<dyn Documents>,
    log: Arc<Log>,
    /// One request at a time, so that what was published is known to be its.
    turn: Mutex<()>,
    _folder: TempDir,
}

impl Edge {
    /// The one edge there is.
    pub fn get() -> &'static Self {
        static EDGE: OnceLock<Edge> = OnceLock::new();
        EDGE.get_or_init(|| Self::new().unwrap_or_else(|error| unreachable!("the edge does not start: {error:#}")))
    }

    fn new() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (folder, log) = (tempfile::tempdir()?, Arc::new(Log::default()));
        let documents: Arc<dyn Documents> = Arc::new(SqliteDocuments::open(folder.path().join("documents.db"))?);
        runtime.block_on(documents.put(&seen()?))?;
        let directory = runtime.block_on(directory(&folder))?;
        runtime.spawn(directory.clone().run(CancellationToken::new()));
        let deps = Deps {
            bus: log.clone(),
            documents: documents.clone(),
            blobs: Arc::new(ObjectBlobs::folder(folder.path().join("blobs"))?),
            accounts: Arc::new(Anybody),
            directory,
            other_services: Health::default(),
        };
        let Settings { config, common } = Settings::try_parse_from(FLAGS)?;
        let health = crate::health(&config, &deps);
        let app = App::new(config, &common, &deps, CancellationToken::new())?;
        let router = crate::http::router(app, &health);
        Ok(Self { runtime, router, documents, log, turn: Mutex::default(), _folder: folder })
    }

    /// The answer to a request of somebody who may do everything.
    pub fn ask(&self, mut request: Request<Body>) -> Answer {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Bearer anybody"));
        self.runtime.block_on(async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            let (parts, body) = response.into_parts();
            let media_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            self.forget_rules().await;
            Answer { status: parts.status, media_type, body, published: self.log.taken() }
        })
    }

    /// Every request meets the same edge.
    async fn forget_rules(&self) {
        for rule in self.documents.rules(&TenantId::admin()).await.unwrap_or_default() {
            drop(self.documents.delete_rule(&TenantId::admin(), rule.id).await);
        }
    }
}

/// Accounts that cost next to nothing.
async fn directory(folder: &TempDir) -> anyhow::Result<Directory> {
    let database = Relational::sqlite(folder.path().join("accounts.sqlite")).await?;
    database.migrate().await?;
    let hashing = Hashing { memory_kib: 8, passes: 1, threads: 1, waiting: 64 };
    let settings = AccountSettings { hashing, ..AccountSettings::default() };
    Directory::open(database, settings, Shared::in_process(), Arc::new(LogMailer), Clock::default()).await
}

/// Some frames with a face and a car, and an alert about each.
fn seen() -> anyhow::Result<Vec<Indexed>> {
    (0..4).map(indexed).collect()
}

fn indexed(number: i64) -> anyhow::Result<Indexed> {
    let frame_id = FrameId::from_position("fuzzing", 0, number);
    let at = Timestamp::from_second(1_767_225_600 + number)?;
    let detections: Vec<Detection> = serde_json::from_value(serde_json::json!([
        {"label": "face", "confidence": 0.5, "box": {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0}},
        {"label": "car", "confidence": 0.9, "category": "SUV", "make": "Audi", "model": "Q3", "year": 2020},
    ]))?;
    let (tenant, rule_id) = (TenantId::admin(), RuleId::built_in("face-seen"));
    let alert = AlertData {
        id: AlertId::of(&rule_id, &frame_id),
        rule: "face-seen".to_owned(),
        rule_id,
        frame_id,
        stream: Some("gate-1".parse()?),
        detector: "face".parse()?,
        detection_id: format!("{frame_id}-face-0"),
        label: "face".to_owned(),
        confidence: 0.5,
        bounds: None,
        vehicle: contracts::Vehicle::default(),
        matches: 1,
        captured_at: at,
        raised_at: at,
    };
    let data = ResultData {
        frame_id,
        stream: Some("gate-1".parse()?),
        detector: "face".parse()?,
        model: "model".to_owned(),
        captured_at: at,
        processed_at: at,
        outcome: Outcome::Ok { width: 640, height: 480, detections, image: None },
    };
    let result = ResultEvent {
        id: frame_id.uuid(),
        tenant: tenant.clone(),
        key: frame_id.to_string(),
        traceparent: None,
        reply_to: None,
        data,
    };
    let alerts = vec![AlertEvent { tenant, traceparent: None, data: alert }];
    Ok(Indexed { result, alerts, indexed_at: at, expires_at: "9999-01-01T00:00:00Z".parse()? })
}

struct Anybody;

#[async_trait]
impl Accounts for Anybody {
    async fn authenticate(&self, _: &str) -> Result<Caller, AccessError> {
        let rights = Right::of(store::relational::Role::User).to_vec();
        Ok(Caller {
            tenant: TenantId::admin(),
            user: None,
            session: None,
            sees_all: true,
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

/// A log that takes everything and is read by nobody.
#[derive(Default)]
struct Log(Arc<Taken>);

#[derive(Default)]
struct Taken(Mutex<Vec<Message>>);

impl Log {
    /// What was published since the last call.
    fn taken(&self) -> Vec<Message> {
        std::mem::take(&mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Producer for Taken {
    fn send(&self, _: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        Ok(async { Ok(Position { partition: 0, offset: 0 }) }.boxed())
    }
}

#[async_trait]
impl Bus for Log {
    fn describe(&self) -> String {
        "nowhere".to_owned()
    }

    fn topic(&self, role: TopicRole) -> &str {
        role.as_str()
    }

    fn producer(&self) -> Arc<dyn Producer> {
        self.0.clone()
    }

    async fn consumer(&self, _: TopicRole, _: &str, _: ConsumerOptions) -> Result<Box<dyn Consumer>, BusError> {
        Err(BusError::Closed)
    }

    async fn reader(&self, _: TopicRole, _: Start) -> Result<Box<dyn Reader>, BusError> {
        Err(BusError::Closed)
    }

    async fn ranges(&self, _: TopicRole) -> Result<Vec<Range>, BusError> {
        Ok(Vec::new())
    }

    async fn incarnation(&self, _: TopicRole) -> Result<String, BusError> {
        Ok("log".to_owned())
    }

    async fn progress(&self, _: TopicRole, _: &str) -> Result<Progress, BusError> {
        Ok(Progress { finished: 0, waiting: 0 })
    }

    async fn oldest_unconsumed(&self, _: TopicRole, _: &str) -> Result<Option<SystemTime>, BusError> {
        Ok(None)
    }

    async fn check(&self) -> Result<(), BusError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), BusError> {
        Ok(())
    }
}
