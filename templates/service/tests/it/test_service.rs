//! The service with its dependencies, on a free port.

use std::sync::Arc;
use std::time::Duration;

use accounts::AdminToken;
use bus::embedded::Options;
use bus::{Bus, EmbeddedBus, ReaderItem, Start};
use clap::Parser;
use contracts::{DeadLetter, Message, TopicRole, Topics};
use service_template::{Config, Deps};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Time limit for each step, so that a test fails instead of hanging.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The admin token.
pub const TOKEN: &str = "an-admin-token-of-at-least-32-bytes";

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
}

/// The running service. It stops when this is dropped.
pub struct TestService {
    bus: Arc<dyn Bus>,
    url: String,
    client: reqwest::Client,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
    _folder: TempDir,
}

impl TestService {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::open(folder.path(), &topics, Options::default()).unwrap());
        let deps = Deps { bus: Arc::clone(&bus), accounts: Arc::new(AdminToken::new(TOKEN).unwrap()) };
        let Settings { config } = Settings::parse_from(["test"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let running = tokio::spawn(service_template::run(config, deps, listener, stop.clone()));
        Self { bus, url, client: reqwest::Client::new(), stop, running, _folder: folder }
    }

    /// Puts a message on the topic `results`.
    pub async fn send(&self, message: Message) {
        self.bus.producer().send(TopicRole::Results, message).unwrap().await.unwrap();
    }

    /// A GET with the admin token.
    pub async fn get(&self, path: &str) -> serde_json::Value {
        let response = self.client.get(format!("{}{path}", self.url)).bearer_auth(TOKEN).send().await.unwrap();
        response.error_for_status().unwrap().json().await.unwrap()
    }

    /// A GET with this token, or none.
    pub async fn get_as(&self, path: &str, token: Option<&str>) -> reqwest::Response {
        let request = self.client.get(format!("{}{path}", self.url));
        token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth).send().await.unwrap()
    }

    /// Waits until a GET returns this body.
    pub async fn wait_for(&self, path: &str, expected: serde_json::Value) {
        let wait = async {
            while self.get(path).await != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, wait).await.unwrap_or_else(|_| unreachable!("{path} never became {expected}"));
    }

    /// The first dead letter of the topic `results`.
    pub async fn dead_letter(&self) -> DeadLetter {
        let mut reader = self.bus.reader(TopicRole::ResultsDlq, Start::Earliest).await.unwrap();
        loop {
            let next = tokio::time::timeout(TIMEOUT, reader.next()).await.unwrap().unwrap();
            if let ReaderItem::Delivery(delivery) = next {
                return DeadLetter::from_message(&delivery.message).unwrap();
            }
        }
    }

    /// Stops the service and returns its result.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        tokio::time::timeout(TIMEOUT, self.running).await.unwrap().unwrap()
    }
}
