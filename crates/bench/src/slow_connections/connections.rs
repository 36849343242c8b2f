//! The slow connections, in a child process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::child::ChildProcess;
use crate::latency::services::Services;
use crate::sse::descriptors;

/// Interval between two bytes.
const BYTE_INTERVAL: Duration = Duration::from_secs(1);
/// Time over which the connections are opened, so that they are not closed all at once.
const SPREAD: Duration = Duration::from_secs(10);
/// A connection that is open this long counts as never closed.
const FOR_EVER: Duration = Duration::from_secs(40);
/// Content-Length of a body.
const BODY: usize = 50_000;
/// Variable with the token, which must not be in the list of processes.
const TOKEN: &str = "SIGHTLINE_TEST_BENCH_TOKEN";

/// How long slow connections stayed open.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Lifetimes {
    pub opened: u32,
    pub closed: u32,
    /// Longest time in seconds, by kind.
    pub longest: f64,
    pub by_kind: BTreeMap<String, f64>,
}

impl Lifetimes {
    /// Adds the lifetimes of other connections.
    pub fn and(&mut self, other: Self) {
        self.opened += other.opened;
        self.closed += other.closed;
        for (kind, longest) in other.by_kind {
            self.lived(&kind, longest);
        }
    }

    fn lived(&mut self, kind: &str, seconds: f64) {
        let longest = self.by_kind.entry(kind.to_owned()).or_default();
        *longest = longest.max(seconds);
        self.longest = self.longest.max(seconds);
    }
}

/// The child process.
pub struct SlowConnections(ChildProcess);

impl SlowConnections {
    /// Opens this many connections.
    pub async fn open(services: &Services, connections: u32) -> anyhow::Result<Self> {
        let address = services.url.strip_prefix("http://").context("an address without TLS")?;
        let connections = connections.to_string();
        let arguments = ["slow-connections", "--address", address, "--connections", &connections];
        let mut child = ChildProcess::bench(&arguments, &[(TOKEN, services.token.clone())])?;
        child.expect_line("gathered").await?;
        Ok(Self(child))
    }

    /// Opens no more connections and waits until all are closed.
    pub async fn end(mut self) -> anyhow::Result<Lifetimes> {
        self.0.send_line("end").await?;
        let line = self.0.read_line().await?;
        self.0.kill().await?;
        serde_json::from_str(&line).with_context(|| format!("unexpected reply of the slow connections: {line:?}"))
    }
}

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct SlowConnectionsChild {
    /// Address to connect to
    #[arg(long)]
    address: SocketAddr,

    /// Number of connections
    #[arg(long)]
    connections: u32,
}

/// How a connection is slow.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Silent,
    DrippingHead,
    DrippingBody,
    StoppedBody,
}

const KINDS: [Kind; 4] = [Kind::Silent, Kind::DrippingHead, Kind::DrippingBody, Kind::StoppedBody];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::DrippingHead => "dripping head",
            Self::DrippingBody => "dripping body",
            Self::StoppedBody => "body that stops",
        }
    }

    /// Bytes that are sent at once.
    fn beginning(self, token: &str) -> Vec<u8> {
        let head = format!("POST /v1/frames HTTP/1.1\r\nhost: sightline\r\nauthorization: Bearer {token}\r\n");
        let upload = format!("content-type: image/jpeg\r\ncontent-length: {BODY}\r\n\r\n");
        // The start of a JPEG, so that the body is not refused for its type.
        let image = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xfe\xff\xff";
        match self {
            Self::Silent => Vec::new(),
            Self::DrippingHead => [head.as_bytes(), b"x-slow: "].concat(),
            Self::DrippingBody | Self::StoppedBody => [head.as_bytes(), upload.as_bytes(), image].concat(),
        }
    }

    const fn sends_bytes(self) -> bool {
        matches!(self, Self::DrippingHead | Self::DrippingBody)
    }
}

impl SlowConnectionsChild {
    /// Keeps the connections open until it reads `end` from standard input.
    pub async fn run(self) -> anyhow::Result<()> {
        descriptors(self.connections)?;
        let token = std::env::var(TOKEN).with_context(|| format!("{TOKEN} is not set"))?;
        let (end, ended) = watch::channel(false);
        let mut slow = JoinSet::new();
        for (number, kind) in (0..self.connections).zip(KINDS.into_iter().cycle()) {
            let first = TcpStream::connect(self.address).await.with_context(|| format!("connection {number}"))?;
            slow.spawn(reopen(self.address, first, kind, kind.beginning(&token), ended.clone()));
            tokio::time::sleep(SPREAD / self.connections).await;
        }
        println!("gathered");
        BufReader::new(tokio::io::stdin()).lines().next_line().await?;
        end.send_replace(true);
        let mut lifetimes = Lifetimes::default();
        while let Some(one) = slow.join_next().await {
            lifetimes.and(one??);
        }
        println!("{}", serde_json::to_string(&lifetimes)?);
        Ok(())
    }
}

/// Opens one connection after another, until the end.
async fn reopen(
    address: SocketAddr,
    first: TcpStream,
    kind: Kind,
    beginning: Vec<u8>,
    ended: watch::Receiver<bool>,
) -> anyhow::Result<Lifetimes> {
    let (mut lifetimes, mut stream) = (Lifetimes::default(), first);
    loop {
        lifetimes.opened += 1;
        let started = Instant::now();
        if tokio::time::timeout(FOR_EVER, until_closed(stream, kind, &beginning)).await.is_ok() {
            lifetimes.closed += 1;
        }
        lifetimes.lived(kind.name(), started.elapsed().as_secs_f64());
        if *ended.borrow() {
            return Ok(lifetimes);
        }
        stream = TcpStream::connect(address).await?;
    }
}

/// Sends single bytes, if the kind does, until the server closes the connection. Ignores the response.
async fn until_closed(mut stream: TcpStream, kind: Kind, beginning: &[u8]) {
    let mut open = stream.write_all(beginning).await.is_ok();
    let mut piece = [0; 1024];
    while open {
        let pause = tokio::time::sleep(BYTE_INTERVAL);
        tokio::select! {
            read = stream.read(&mut piece) => open = matches!(read, Ok(bytes) if bytes > 0),
            () = pause, if kind.sends_bytes() => open = stream.write_all(b"x").await.is_ok(),
        }
    }
}
