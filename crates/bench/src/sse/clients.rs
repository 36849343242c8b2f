//! Many subscribers in a child process, which time every delivery.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::mark;
use crate::child::ChildProcess;
use crate::stats::Times;

/// Connections opened concurrently.
const OPENING: usize = 16;

/// The child process.
pub struct Clients {
    child: ChildProcess,
}

/// Time from publish to delivery over all subscribers, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct DeliveryTimes {
    pub p50: f64,
    pub p99: f64,
}

impl Clients {
    /// Opens `subscribers` connections with this request (without its final empty line).
    pub async fn connect(address: &str, request: &str, subscribers: u32) -> anyhow::Result<Self> {
        let subscribers = subscribers.to_string();
        let settings = [(REQUEST, request.to_owned())];
        let arguments = ["sse-clients", "--address", address, "--subscribers", &subscribers];
        let mut child = ChildProcess::bench(&arguments, &settings)?;
        child.expect_line("connected").await?;
        Ok(Self { child })
    }

    /// Makes every subscriber wait for this many alerts.
    pub async fn expect(&mut self, alerts: u32) -> anyhow::Result<()> {
        self.child.send_line(&alerts.to_string()).await?;
        self.child.expect_line("listening").await
    }

    /// Waits until every subscriber has received them.
    pub async fn delivered(&mut self) -> anyhow::Result<DeliveryTimes> {
        let line = self.child.read_line().await?;
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().context("two numbers")?;
        let [p50, p99] = numbers[..] else { anyhow::bail!("unexpected reply of the clients: {line:?}") };
        Ok(DeliveryTimes { p50, p99 })
    }

    /// Kills the process.
    pub async fn end(self) -> anyhow::Result<()> {
        self.child.kill().await
    }
}

/// Variable with the request: its token must not be in the list of processes.
const REQUEST: &str = "SIGHTLINE_TEST_SSE_REQUEST";

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct ClientsChild {
    /// Address to connect to
    #[arg(long)]
    address: String,

    /// Number of connections
    #[arg(long)]
    subscribers: usize,
}

/// One subscriber.
struct Listener {
    stream: TcpStream,
    /// Received bytes that are not parsed yet.
    kept: Vec<u8>,
}

impl ClientsChild {
    /// Runs until standard input ends.
    pub async fn run(self) -> anyhow::Result<()> {
        let request = std::env::var(REQUEST).with_context(|| format!("{REQUEST} is not set"))? + "\r\n";
        let opening = stream::iter(0..self.subscribers).map(|_| Listener::connect(&self.address, &request));
        let mut listeners: Vec<Listener> = opening.buffer_unordered(OPENING).try_collect().await?;
        println!("connected");
        let mut orders = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = orders.next_line().await? {
            let alerts: usize = line.parse().context("a number of alerts")?;
            let mut tasks: JoinSet<_> = listeners.drain(..).map(|listener| listener.receive(alerts)).collect();
            println!("listening");
            let mut ages = Vec::with_capacity(alerts * self.subscribers);
            while let Some(ended) = tasks.join_next().await {
                let (listener, delivered) = ended??;
                listeners.push(listener);
                ages.extend(delivered);
            }
            let times: Times = ages.into_iter().collect();
            println!("{:.3} {:.3}", times.ms(0.5), times.ms(0.99));
        }
        Ok(())
    }
}

impl Listener {
    async fn connect(address: &str, request: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.write_all(request.as_bytes()).await?;
        let mut kept = Vec::with_capacity(1024);
        while !kept.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut kept).await? > 0, "refused: {}", String::from_utf8_lossy(&kept));
        }
        ensure!(kept.starts_with(b"HTTP/1.1 200"), "refused: {}", String::from_utf8_lossy(&kept));
        Ok(Self { stream, kept })
    }

    /// Receives this many alerts; returns the delivery time of each.
    async fn receive(mut self, alerts: usize) -> anyhow::Result<(Self, Vec<Duration>)> {
        let mut ages = Vec::with_capacity(alerts);
        while ages.len() < alerts {
            self.kept.reserve(4096);
            let read = self.stream.read_buf(&mut self.kept).await?;
            ensure!(read > 0, "the server closed after {} of {alerts} alerts", ages.len());
            let done = mark::find(&self.kept, |mark| ages.push(mark.age));
            self.kept.drain(..done);
        }
        Ok((self, ages))
    }
}
