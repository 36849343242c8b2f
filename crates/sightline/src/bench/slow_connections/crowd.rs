//! The slow connections, in a process of their own.

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

use crate::bench::child::Child;
use crate::bench::latency::stack::Stack;
use crate::bench::sse::descriptors;

/// How often a drop is sent.
const DRIP: Duration = Duration::from_secs(1);
/// They come within this time, and so go one by one and not all in one moment.
const SPREAD: Duration = Duration::from_secs(10);
/// A connection that lives so long is taken for one that is never closed.
const FOR_EVER: Duration = Duration::from_secs(40);
/// Bytes that a body is said to have.
const BODY: usize = 50_000;
/// Carries the token, which is not for the list of processes.
const TOKEN: &str = "SIGHTLINE_TEST_BENCH_TOKEN";

/// What became of slow connections.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Fate {
    pub opened: u32,
    pub closed: u32,
    /// Seconds of the one that lived longest.
    pub longest: f64,
    pub by_kind: BTreeMap<String, f64>,
}

impl Fate {
    /// Adds what became of others.
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

/// The process, as its starter sees it.
pub struct Crowd(Child);

impl Crowd {
    /// So many connections, all of them open.
    pub async fn gather(stack: &Stack, connections: u32) -> anyhow::Result<Self> {
        let address = stack.url.strip_prefix("http://").context("an address without TLS")?;
        let connections = connections.to_string();
        let arguments = ["slow-crowd", "--address", address, "--connections", &connections];
        let mut child = Child::part(&arguments, &[(TOKEN, stack.token.clone())])?;
        child.says("gathered").await?;
        Ok(Self(child))
    }

    /// Lets none come again, and waits until all are gone.
    pub async fn end(mut self) -> anyhow::Result<Fate> {
        self.0.tell("end").await?;
        let line = self.0.line().await?;
        self.0.kill().await?;
        serde_json::from_str(&line).with_context(|| format!("the slow connections said {line:?}"))
    }
}

/// What the process is started with.
#[derive(Debug, Args)]
pub struct Part {
    /// Where to connect
    #[arg(long)]
    address: SocketAddr,

    /// How often
    #[arg(long)]
    connections: u32,
}

/// In which way a connection is slow.
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

    /// What is sent at once.
    fn beginning(self, token: &str) -> Vec<u8> {
        let head = format!("POST /v1/frames HTTP/1.1\r\nhost: sightline\r\nauthorization: Bearer {token}\r\n");
        let upload = format!("content-type: image/jpeg\r\ncontent-length: {BODY}\r\n\r\n");
        // The first segments of a JPEG, so that the image is not refused for what it is.
        let image = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xfe\xff\xff";
        match self {
            Self::Silent => Vec::new(),
            Self::DrippingHead => [head.as_bytes(), b"x-slow: "].concat(),
            Self::DrippingBody | Self::StoppedBody => [head.as_bytes(), upload.as_bytes(), image].concat(),
        }
    }

    const fn drips(self) -> bool {
        matches!(self, Self::DrippingHead | Self::DrippingBody)
    }
}

impl Part {
    /// Keeps the connections up until it is told to end.
    pub async fn run(self) -> anyhow::Result<()> {
        descriptors(self.connections)?;
        let token = std::env::var(TOKEN).with_context(|| format!("{TOKEN} is not set"))?;
        let (end, ended) = watch::channel(false);
        let mut slow = JoinSet::new();
        for (number, kind) in (0..self.connections).zip(KINDS.into_iter().cycle()) {
            let first = TcpStream::connect(self.address).await.with_context(|| format!("connection {number}"))?;
            slow.spawn(again_and_again(self.address, first, kind, kind.beginning(&token), ended.clone()));
            tokio::time::sleep(SPREAD / self.connections).await;
        }
        println!("gathered");
        BufReader::new(tokio::io::stdin()).lines().next_line().await?;
        end.send_replace(true);
        let mut fate = Fate::default();
        while let Some(one) = slow.join_next().await {
            fate.and(one??);
        }
        println!("{}", serde_json::to_string(&fate)?);
        Ok(())
    }
}

/// One connection after the other, until the end.
async fn again_and_again(
    address: SocketAddr,
    first: TcpStream,
    kind: Kind,
    beginning: Vec<u8>,
    ended: watch::Receiver<bool>,
) -> anyhow::Result<Fate> {
    let (mut fate, mut stream) = (Fate::default(), first);
    loop {
        fate.opened += 1;
        let begun = Instant::now();
        if tokio::time::timeout(FOR_EVER, until_closed(stream, kind, &beginning)).await.is_ok() {
            fate.closed += 1;
        }
        fate.lived(kind.name(), begun.elapsed().as_secs_f64());
        if *ended.borrow() {
            return Ok(fate);
        }
        stream = TcpStream::connect(address).await?;
    }
}

/// Drips, if it is of that kind, until the server has closed the connection. What it says before is not looked at.
async fn until_closed(mut stream: TcpStream, kind: Kind, beginning: &[u8]) {
    let mut open = stream.write_all(beginning).await.is_ok();
    let mut piece = [0; 1024];
    while open {
        let pause = tokio::time::sleep(DRIP);
        tokio::select! {
            read = stream.read(&mut piece) => open = matches!(read, Ok(bytes) if bytes > 0),
            () = pause, if kind.drips() => open = stream.write_all(b"x").await.is_ok(),
        }
    }
}
