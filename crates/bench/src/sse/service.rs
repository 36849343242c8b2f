//! The alert stream alone in a child process on an embedded log, which also publishes the alerts.

use std::sync::Arc;
use std::time::Duration;

use accounts::{AdminToken, generate_token};
use alert_stream::{Config, Deps};
use anyhow::Context;
use bus::embedded::{EmbeddedBus, Options};
use bus::{Bus, BusError};
use clap::Args;
use contracts::{Event, TopicRole, Topics};
use platform::telemetry::{self, LogFormat};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::mark;
use crate::child::ChildProcess;

/// Maximum number of unacknowledged messages.
const UNACKNOWLEDGED: usize = 256;

/// The child process.
pub struct Service {
    pub child: ChildProcess,
    pub address: String,
    token: String,
    published: u32,
    _folder: tempfile::TempDir,
}

impl Service {
    /// Starts it for this many subscribers, with additional flags.
    pub async fn start(subscribers: u32, flags: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("a folder for the log")?;
        let places = (subscribers + 64).to_string();
        let path = folder.path().to_str().context("the folder's name")?;
        let mut arguments = vec!["sse-service", "--folder", path, "--alert-subscribers", &places];
        arguments.extend(flags);
        let mut child = ChildProcess::bench(&arguments, &[])?;
        let line = child.read_line().await?;
        let (address, token) = line.split_once(' ').context("an address and a token")?;
        let (address, token) = (address.to_owned(), token.to_owned());
        Ok(Self { child, address, token, published: 0, _folder: folder })
    }

    /// The request that subscribes, without the empty line at its end.
    pub fn request(&self, version: &str) -> String {
        let Self { address, token, .. } = self;
        format!("GET /v1/alerts {version}\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n")
    }

    /// Number of alerts published so far.
    pub const fn published(&self) -> u32 {
        self.published
    }

    /// Publishes this many alerts, with consecutive numbers.
    pub async fn publish(&mut self, alerts: u32, between: Duration) -> anyhow::Result<()> {
        self.begin_publishing(alerts, between).await?;
        self.end_publishing().await
    }

    /// Starts to publish.
    pub async fn begin_publishing(&mut self, alerts: u32, between: Duration) -> anyhow::Result<()> {
        let first = self.published;
        self.published += alerts;
        self.child.send_line(&format!("{first} {alerts} {}", between.as_micros())).await
    }

    /// Waits until all are published.
    pub async fn end_publishing(&mut self) -> anyhow::Result<()> {
        self.child.expect_line("published").await
    }
}

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct ServiceChild {
    /// Folder of the log
    #[arg(long)]
    folder: std::path::PathBuf,

    #[command(flatten)]
    config: Config,
}

impl ServiceChild {
    /// Runs until standard input ends.
    pub async fn run(self) -> anyhow::Result<()> {
        telemetry::init("warn", LogFormat::Text)?;
        telemetry::start_metrics();
        let topics = Topics::parse(contracts::topics::DEFAULT)?;
        let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::open(&self.folder, &topics, Options::default())?);
        let token = generate_token();
        let accounts = Arc::new(AdminToken::new(&token).map_err(anyhow::Error::msg)?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let deps = Deps { bus: Arc::clone(&bus), accounts, traces: platform::traces::Traces::off() };
        let service = tokio::spawn(alert_stream::run(self.config, deps, listener, stop.clone()));
        println!("{address} {token}");
        let mut orders = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = orders.next_line().await? {
            let numbers: Vec<u32> =
                line.split(' ').map(str::parse).collect::<Result<_, _>>().context("three numbers")?;
            let [first, alerts, micros] = numbers[..] else { anyhow::bail!("three numbers are expected") };
            publish(&*bus, first..first + alerts, Duration::from_micros(micros.into())).await?;
            println!("published");
        }
        stop.cancel();
        service.await?
    }
}

async fn publish(bus: &dyn Bus, numbers: std::ops::Range<u32>, between: Duration) -> anyhow::Result<()> {
    let producer = bus.producer();
    let mut unacknowledged = std::collections::VecDeque::new();
    let mut ticks = tokio::time::interval(between.max(Duration::from_micros(1)));
    for number in numbers {
        if !between.is_zero() {
            ticks.tick().await;
        }
        let acknowledged = loop {
            match producer.send(TopicRole::Alerts, mark::alert(number)?.to_message()) {
                Ok(acknowledged) => break acknowledged,
                Err(BusError::QueueFull) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => return Err(error.into()),
            }
        };
        unacknowledged.push_back(acknowledged);
        if unacknowledged.len() > UNACKNOWLEDGED
            && let Some(oldest) = unacknowledged.pop_front()
        {
            oldest.await?;
        }
    }
    for acknowledged in unacknowledged {
        acknowledged.await?;
    }
    Ok(())
}
