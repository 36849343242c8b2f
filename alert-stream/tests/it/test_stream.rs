//! A log, replicas of alert-stream that read it, and fake accounts.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use accounts::{AccessError, Accounts, Caller, RateLimitDecision, Scope};
use alert_stream::{Config, Deps};
use async_trait::async_trait;
use bus::embedded::Options;
use bus::{Bus, EmbeddedBus};
use clap::Parser;
use contracts::alert::AlertData;
use contracts::{AlertEvent, AlertId, Attributes, Event, FrameId, RuleId, TenantId, TopicRole, Topics};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::client::TIMEOUT;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

/// Accounts that know the callers added by a test, by token.
#[derive(Default)]
pub struct FakeAccounts(Mutex<HashMap<String, Caller>>);

impl FakeAccounts {
    pub fn add(&self, token: &str, caller: Caller) {
        self.0.lock().unwrap().insert(token.to_owned(), caller);
    }

    pub fn remove(&self, token: &str) {
        self.0.lock().unwrap().remove(token);
    }
}

#[async_trait]
impl Accounts for FakeAccounts {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        self.0.lock().unwrap().get(token).cloned().ok_or(AccessError::InvalidCredential)
    }

    /// A caller with a rate limit of 0 exceeds it.
    async fn admit(&self, caller: &Caller) -> Result<Option<RateLimitDecision>, AccessError> {
        if caller.rate_limit == Some(0) {
            return Err(AccessError::RateLimited { limit: 0, retry_after: Duration::from_millis(1500) });
        }
        Ok(None)
    }

    async fn charge(&self, _: &Caller, _: FrameId) -> Result<(), AccessError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), AccessError> {
        Ok(())
    }
}

/// A caller of this tenant with the scope `alerts:read`.
pub fn reader(tenant: &str, valid_until: Option<SystemTime>) -> Caller {
    let tenant = tenant.parse().unwrap();
    Caller { valid_until, ..Caller::new(tenant, vec![Scope::AlertsRead]) }
}

/// Token of a caller who reads all tenants' alerts.
pub const ADMIN: &str = "admin";

/// A log and accounts.
pub struct TestStream {
    pub bus: Arc<dyn Bus>,
    pub accounts: Arc<FakeAccounts>,
    _folder: Option<TempDir>,
}

impl TestStream {
    pub fn new() -> Self {
        Self::with(|topics| topics, Options::default())
    }

    pub fn with(change: impl Fn(Topics) -> Topics, options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let topics = change(Topics::parse(contracts::topics::DEFAULT).unwrap());
        let bus = EmbeddedBus::open(folder.path(), &topics, options).unwrap();
        Self { _folder: Some(folder), ..Self::on(Arc::new(bus)) }
    }

    pub fn on(bus: Arc<dyn Bus>) -> Self {
        let accounts = FakeAccounts::default();
        accounts.add(ADMIN, Caller { reads_all_tenants: true, ..reader("admin", None) });
        Self { bus, accounts: Arc::new(accounts), _folder: None }
    }

    /// Starts a replica with these command-line options.
    pub async fn replica(&self, flags: &[&str]) -> Replica {
        let Settings { config } = Settings::parse_from([&["alert-stream"], flags].concat());
        let accounts: Arc<dyn Accounts> = self.accounts.clone();
        let deps = Deps { bus: Arc::clone(&self.bus), accounts, traces: platform::traces::Traces::off() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(alert_stream::run(config, deps, listener, stop.clone()));
        Replica { address, stop, task }
    }

    /// Publishes alerts in this order.
    pub async fn publish(&self, alerts: impl IntoIterator<Item = AlertEvent>) {
        let producer = self.bus.producer();
        let mut sent = Vec::new();
        for alert in alerts {
            sent.push(producer.send(TopicRole::Alerts, alert.to_message()).unwrap());
            if sent.len() >= 500 {
                futures::future::try_join_all(sent.drain(..)).await.unwrap();
            }
        }
        futures::future::try_join_all(sent).await.unwrap();
    }
}

/// A running replica.
pub struct Replica {
    pub address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Replica {
    /// Stops the replica like a signal.
    pub fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Waits until the replica has ended without error.
    pub async fn ended(self) {
        tokio::time::timeout(TIMEOUT, self.task).await.unwrap().unwrap().unwrap();
    }

    pub async fn stop(self) {
        self.ask_to_stop();
        self.ended().await;
    }
}

/// An alert of the shared tenant with this number as its id.
pub fn alert(number: u128) -> AlertEvent {
    let frame_id = FrameId::from_uuid(Uuid::from_u128(number));
    AlertEvent {
        tenant: TenantId::shared(),
        traceparent: None,
        data: AlertData {
            id: AlertId::from_uuid(Uuid::from_u128(number)),
            rule: "face-seen".to_owned(),
            rule_id: RuleId::built_in("face-seen"),
            frame_id,
            stream: Some("gate-1".parse().unwrap()),
            detector: "face".parse().unwrap(),
            detection_id: format!("{frame_id}-face-0"),
            label: "face".to_owned(),
            confidence: 0.9,
            bounds: None,
            attributes: Attributes::default(),
            matches: 1,
            captured_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            raised_at: "2026-01-02T03:04:06Z".parse().unwrap(),
        },
    }
}

/// Alerts with these numbers.
pub fn alerts(numbers: impl IntoIterator<Item = u128>) -> Vec<AlertEvent> {
    numbers.into_iter().map(alert).collect()
}

/// The numbers of a log without duplicates within 2,000 records: a plain reference implementation.
pub fn without_duplicates(log: &[u128]) -> Vec<u128> {
    let is_new = |place: usize| !log[place.saturating_sub(2_000)..place].contains(&log[place]);
    (0..log.len()).filter(|place| is_new(*place)).map(|place| log[place]).collect()
}

/// Pseudo-random numbers from a seed.
pub struct TestRandom(pub u64);

impl TestRandom {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
