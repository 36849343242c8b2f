//! Many subscribers in a process of their own, which time every delivery.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::mark;
use crate::bench::child::Child;
use crate::bench::stats::Times;

/// Connections that are opened at once.
const OPENING: usize = 16;

/// The process, as its starter sees it.
pub struct Clients {
    child: Child,
}

/// What all subscribers together saw: milliseconds from publish to delivery.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    pub p50: f64,
    pub p99: f64,
}

impl Clients {
    /// Connects so many, with this request (its empty line is added here).
    pub async fn connect(address: &str, request: &str, subscribers: u32) -> anyhow::Result<Self> {
        let subscribers = subscribers.to_string();
        let settings = [(REQUEST, request.to_owned())];
        let arguments = ["sse-clients", "--address", address, "--subscribers", &subscribers];
        let mut child = Child::part(&arguments, &settings)?;
        child.says("connected").await?;
        Ok(Self { child })
    }

    /// From here on, so many alerts are awaited by each.
    pub async fn expect(&mut self, alerts: u32) -> anyhow::Result<()> {
        self.child.tell(&alerts.to_string()).await?;
        self.child.says("listening").await
    }

    /// Waits until each has them.
    pub async fn heard(&mut self) -> anyhow::Result<Heard> {
        let line = self.child.line().await?;
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().context("two numbers")?;
        let [p50, p99] = numbers[..] else { anyhow::bail!("the clients said {line:?}") };
        Ok(Heard { p50, p99 })
    }

    /// Ends them all.
    pub async fn end(self) -> anyhow::Result<()> {
        self.child.kill().await
    }
}

/// Carries the request: a token is not for the list of processes.
const REQUEST: &str = "SIGHTLINE_TEST_SSE_REQUEST";

/// What the process is started with.
#[derive(Debug, Args)]
pub struct Part {
    /// Where to connect
    #[arg(long)]
    address: String,

    /// How often
    #[arg(long)]
    subscribers: usize,
}

/// One subscriber.
struct Listener {
    stream: TcpStream,
    /// What has come and was not looked at to its end.
    kept: Vec<u8>,
}

impl Part {
    /// Listens until its standard input ends.
    pub async fn run(self) -> anyhow::Result<()> {
        let request = std::env::var(REQUEST).with_context(|| format!("{REQUEST} is not set"))? + "\r\n";
        let opening = stream::iter(0..self.subscribers).map(|_| Listener::connect(&self.address, &request));
        let mut listeners: Vec<Listener> = opening.buffer_unordered(OPENING).try_collect().await?;
        println!("connected");
        let mut told = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = told.next_line().await? {
            let alerts: usize = line.parse().context("a number of alerts")?;
            let mut tasks: JoinSet<_> = listeners.drain(..).map(|listener| listener.hear(alerts)).collect();
            println!("listening");
            let mut ages = Vec::with_capacity(alerts * self.subscribers);
            while let Some(ended) = tasks.join_next().await {
                let (listener, heard) = ended??;
                listeners.push(listener);
                ages.extend(heard);
            }
            let times: Times = ages.into_iter().collect();
            println!("{:.3} {:.3}", times.ms(0.5), times.ms(0.99));
        }
        Ok(())
    }
}

impl Listener {
    async fn connect(address: &str, request: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await.with_context(|| format!("nobody listens at {address}"))?;
        stream.write_all(request.as_bytes()).await?;
        let mut kept = Vec::with_capacity(1024);
        while !kept.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut kept).await? > 0, "refused: {}", String::from_utf8_lossy(&kept));
        }
        ensure!(kept.starts_with(b"HTTP/1.1 200"), "refused: {}", String::from_utf8_lossy(&kept));
        Ok(Self { stream, kept })
    }

    /// Listens until so many alerts have come; gives how long each was on its way.
    async fn hear(mut self, alerts: usize) -> anyhow::Result<(Self, Vec<Duration>)> {
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
