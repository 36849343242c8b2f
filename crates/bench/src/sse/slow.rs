//! Subscribers that read slowly or not at all: how they slow the others, and what happens to them.
//!
//! Half of the subscribers are timed. The other half reads normally in one round and slowly in the next: half of
//! these read a few bytes at intervals, the others nothing. Their receive buffers are small, so that the service soon
//! notices. After the alerts of a round, the slow subscribers read everything, reconnect with the last id, and must
//! have received every alert exactly once.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::clients::Clients;
use super::service::Service;
use super::{descriptors, mark};
use crate::RunLength;
use crate::child::ChildProcess;
use crate::report::{Goal, Report};
use crate::stats::Spread;
use platform::sse::SseParser;

/// Alerts per second.
const RATE: u32 = 30;
/// Alerts in the service's window; a subscriber further behind is disconnected.
const WINDOW: &str = "150";
/// Seconds after which a subscriber that reads nothing is disconnected.
const STALL: &str = "12";
/// Receive buffer of a slow subscriber, in bytes.
const RECEIVE_BUFFER: u32 = 4096;
/// Bytes that a slow subscriber reads every `PAUSE`: a quarter of what is sent.
const READ_SIZE: usize = 450;
const PAUSE: Duration = Duration::from_millis(100);
/// Additional memory that a slow subscriber may cost, in MB.
const PER_SLOW: f64 = 0.02;

/// Size of the bench.
#[derive(Debug, Args)]
pub struct SlowReadersBench {
    /// Subscribers; half of them are slow in every other round
    #[arg(long, default_value_t = 1_000, value_name = "NUMBER")]
    slow_readers_among: u32,
}

/// What happened to the slow subscribers of a round.
#[derive(Debug, Default)]
struct SlowOutcome {
    /// Received the event `slow`.
    notified: u32,
    /// Disconnected without it, because they read nothing.
    cut: u32,
    missed: u32,
    repeated: u32,
}

impl SlowReadersBench {
    /// Alternates rounds with normal and with slow subscribers.
    pub async fn run(&self, run_length: RunLength) -> anyhow::Result<Report> {
        let half = self.slow_readers_among / 2;
        descriptors(self.slow_readers_among)?;
        let (rounds, alerts) = run_length.pick((5, RATE * 40), (2, RATE * 20));
        let mut report = Report::new("slow-readers");
        report.setting("subscribers", half * 2);
        report.setting("slow", half);
        report.setting("alerts_per_second", RATE);
        report.setting("alerts_per_round", alerts);
        report.setting("rounds", rounds);
        let flags = ["--alert-window", WINDOW, "--alert-stall-seconds", STALL];
        let mut service = Service::start(half * 2, &flags).await?;
        let (mut well, mut beside_slow, mut ratios, mut outcome) =
            (Vec::new(), Vec::new(), Vec::new(), SlowOutcome::default());
        let (mut most_well, mut most_slow, mut buffers) = (0, 0, 0_u64);
        for _ in 0..rounds {
            let neighbours =
                Neighbours::Well(Clients::connect(&service.address, &service.request("HTTP/1.1"), half).await?);
            let good = round(&mut service, neighbours, half, alerts, &mut outcome).await?;
            let neighbours = Neighbours::Slow(Slow::connect(&service, half).await?);
            let bad = round(&mut service, neighbours, half, alerts, &mut outcome).await?;
            well.push(good.p99);
            beside_slow.push(bad.p99);
            ratios.push(bad.p99 / good.p99);
            most_well = most_well.max(good.resident);
            most_slow = most_slow.max(bad.resident);
            buffers = buffers.max(bad.buffers.saturating_sub(good.buffers));
        }
        service.child.kill().await?;
        let moved = Spread::of(&ratios);
        report.with_goal(
            "the others' p99 beside slow readers, to that beside good ones",
            moved.median,
            "×",
            Goal::AtMost(1.1),
        );
        report.note(format!("over the rounds {:.2} to {:.2}", moved.min, moved.max));
        report.figure("the others' p99 beside good readers", Spread::of(&well).median, "ms");
        report.figure("the others' p99 beside slow readers", Spread::of(&beside_slow).median, "ms");
        report.figure("most memory beside good readers", most_well as f64 / 1e6, "MB");
        let bound = most_well as f64 / 1e6 + f64::from(half) * PER_SLOW;
        report.with_goal("most memory beside slow readers", most_slow as f64 / 1e6, "MB", Goal::AtMost(bound));
        report.figure(
            "kernel buffers of slow readers, beyond good ones",
            buffers as f64 / f64::from(half) / 1e3,
            "kB each",
        );
        let slow = f64::from(half) * f64::from(rounds);
        report.with_goal(
            "slow readers notified or disconnected",
            f64::from(outcome.notified + outcome.cut) / slow,
            "of them",
            Goal::AtLeast(1.0),
        );
        report.figure("notified", f64::from(outcome.notified) / slow, "of all slow");
        report.with_goal("alerts missed after coming back", f64::from(outcome.missed), "", Goal::AtMost(0.0));
        report.with_goal("alerts seen twice", f64::from(outcome.repeated), "", Goal::AtMost(0.0));
        Ok(report)
    }
}

enum Neighbours {
    Well(Clients),
    Slow(Slow),
}

struct Round {
    p99: f64,
    resident: u64,
    buffers: u64,
}

async fn round(
    service: &mut Service,
    mut neighbours: Neighbours,
    half: u32,
    alerts: u32,
    outcome: &mut SlowOutcome,
) -> anyhow::Result<Round> {
    let mut timed = Clients::connect(&service.address, &service.request("HTTP/1.1"), half).await?;
    timed.expect(alerts).await?;
    if let Neighbours::Well(clients) = &mut neighbours {
        clients.expect(alerts).await?;
    }
    service.publish(alerts, Duration::from_secs(1) / RATE).await?;
    let delivered = timed.delivered().await?;
    let (resident, buffers) = (service.child.meter()?.resident()?, socket_buffers());
    match neighbours {
        Neighbours::Well(mut clients) => {
            clients.delivered().await?;
            clients.end().await?;
        }
        Neighbours::Slow(slow) => slow.finish(service.published() - 1, outcome).await?,
    }
    timed.end().await?;
    Ok(Round { p99: delivered.p99, resident, buffers })
}

/// Bytes in the kernel's buffers of all TCP connections of this machine; 0 if the kernel does not report them.
fn socket_buffers() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split(' ').skip_while(|word| *word != "mem");
    words.nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

/// The child process with the slow subscribers.
struct Slow(ChildProcess);

/// Variable with the request: its token must not be in the list of processes.
const REQUEST: &str = "SIGHTLINE_TEST_SSE_REQUEST";

impl Slow {
    async fn connect(service: &Service, readers: u32) -> anyhow::Result<Self> {
        let (readers, first) = (readers.to_string(), service.published().to_string());
        let settings = [(REQUEST, service.request("HTTP/1.0"))];
        let arguments = ["sse-slow", "--address", &service.address, "--readers", &readers, "--first", &first];
        let mut child = ChildProcess::bench(&arguments, &settings)?;
        child.expect_line("connected").await?;
        Ok(Self(child))
    }

    /// Makes them read everything and reconnect for the rest, up to alert `last`.
    async fn finish(mut self, last: u32, outcome: &mut SlowOutcome) -> anyhow::Result<()> {
        self.0.send_line(&last.to_string()).await?;
        let line = self.0.read_line().await?;
        let numbers: Vec<u32> = line.split(' ').map(str::parse).collect::<Result<_, _>>().context("four numbers")?;
        let [notified, cut, missed, repeated] = numbers[..] else { anyhow::bail!("the slow readers printed {line:?}") };
        outcome.notified += notified;
        outcome.cut += cut;
        outcome.missed += missed;
        outcome.repeated += repeated;
        self.0.kill().await
    }
}

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct SlowReadersChild {
    /// Address to connect to
    #[arg(long)]
    address: std::net::SocketAddr,

    /// Number of subscribers; every second one reads nothing
    #[arg(long)]
    readers: usize,

    /// Number of the first alert
    #[arg(long)]
    first: u32,
}

impl SlowReadersChild {
    /// Reads slowly until standard input names the last alert, then reads everything.
    pub async fn run(self) -> anyhow::Result<()> {
        let request = std::env::var(REQUEST).with_context(|| format!("{REQUEST} is not set"))?;
        let (hurry, last) = watch::channel(None);
        let mut readers = JoinSet::new();
        for number in 0..self.readers {
            let reader = Reader::connect(self.address, &request).await?;
            readers.spawn(reader.run(number % 2 == 0, last.clone()));
        }
        println!("connected");
        let line = BufReader::new(tokio::io::stdin()).lines().next_line().await?.context("the last alert's number")?;
        let last: u32 = line.parse()?;
        hurry.send_replace(Some(last));
        let mut outcome = SlowOutcome::default();
        while let Some(ended) = readers.join_next().await {
            let reader = ended??;
            outcome.notified += u32::from(reader.notified);
            outcome.cut += u32::from(!reader.notified && reader.reconnects > 0);
            let mut numbers = reader.numbers;
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            outcome.repeated += u32::try_from(all - numbers.len())?;
            outcome.missed += last + 1 - self.first - u32::try_from(numbers.len())?;
        }
        println!("{} {} {} {}", outcome.notified, outcome.cut, outcome.missed, outcome.repeated);
        Ok(())
    }
}

/// One subscriber.
struct Reader {
    address: std::net::SocketAddr,
    request: String,
    stream: TcpStream,
    parser: SseParser,
    last_id: Option<String>,
    numbers: Vec<u32>,
    notified: bool,
    reconnects: u32,
}

impl Reader {
    async fn connect(address: std::net::SocketAddr, request: &str) -> anyhow::Result<Self> {
        let mut reader = Self {
            address,
            request: request.to_owned(),
            stream: open(address, request).await?,
            parser: SseParser::default(),
            last_id: None,
            numbers: Vec::new(),
            notified: false,
            reconnects: 0,
        };
        // Reads the head of the response and the first block byte by byte, and nothing beyond.
        while reader.last_id.is_none() {
            ensure!(reader.read_some(1).await?, "the service closed at once");
        }
        Ok(reader)
    }

    async fn run(mut self, reads_slowly: bool, mut last: watch::Receiver<Option<u32>>) -> anyhow::Result<Self> {
        let last = loop {
            if let Some(last) = *last.borrow_and_update() {
                break last;
            }
            tokio::select! {
                changed = last.changed() => changed?,
                () = tokio::time::sleep(PAUSE), if reads_slowly => drop(self.read_some(READ_SIZE).await),
            }
        };
        while self.numbers.last() != Some(&last) {
            // An error is a disconnect too: the service did not wait until everything was read.
            if !self.read_some(4096).await.unwrap_or(false) {
                self.reconnect().await?;
            }
        }
        Ok(self)
    }

    /// Reads at most `most` bytes; returns whether there were any.
    async fn read_some(&mut self, most: usize) -> anyhow::Result<bool> {
        let mut bytes = vec![0; most];
        let read = self.stream.read(&mut bytes).await?;
        for event in self.parser.feed(bytes.get(..read).unwrap_or_default()) {
            self.notified |= event.event == "slow";
            mark::find(event.data.as_bytes(), |mark| self.numbers.push(mark.number));
        }
        if let Some(id) = self.parser.last_id() {
            self.last_id = Some(id.to_owned());
        }
        Ok(read > 0)
    }

    async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.reconnects += 1;
        let id = self.last_id.as_deref().context("no id to resume with")?;
        let request = format!("{}Last-Event-ID: {id}\r\n", self.request);
        self.parser = SseParser::default();
        loop {
            self.stream = open(self.address, &request).await?;
            let mut status = [0; 12];
            self.stream.read_exact(&mut status).await?;
            if status.ends_with(b"200") {
                return Ok(());
            }
            // The number of concurrent replays from the log is bounded.
            ensure!(status.ends_with(b"503"), "refused: {}", String::from_utf8_lossy(&status));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Uses HTTP/1.0, so that the response body is the event stream without chunks.
async fn open(address: std::net::SocketAddr, request: &str) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let mut stream = socket.connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.write_all(format!("{request}\r\n").as_bytes()).await?;
    Ok(stream)
}
