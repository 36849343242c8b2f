//! Subscribers that read slowly or not at all: what the others notice, and what becomes of the slow.
//!
//! Half of the subscribers are timed. The other half reads well in one round and badly in the next: some take a few bytes
//! now and then, some nothing. Their kernels buffer little, so that the service meets them soon. When a round's alerts are
//! out, the slow ones read what there is, come back with the last id they saw, and must end up with every alert once.

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
use crate::bench::Pace;
use crate::bench::child::Child;
use crate::bench::report::{Goal, Report};
use crate::bench::stats::Spread;
use crate::sse::SseParser;

/// Alerts a second.
const RATE: u32 = 30;
/// Alerts that the service keeps in memory: who is further behind than this is cut.
const WINDOW: &str = "150";
/// Seconds after which who takes nothing is cut.
const STALL: &str = "12";
/// What a slow reader's kernel holds for it.
const RECEIVE_BUFFER: u32 = 4096;
/// A slow reader takes so many bytes, so often: a quarter of what it is offered.
const SIP: usize = 450;
const PAUSE: Duration = Duration::from_millis(100);
/// Megabytes that a slow reader may cost more than a good one.
const PER_SLOW: f64 = 0.02;

/// How many.
#[derive(Debug, Args)]
pub struct SlowReadersBench {
    /// Subscribers; half of them are slow in every other round
    #[arg(long, default_value_t = 1_000, value_name = "NUMBER")]
    slow_readers_among: u32,
}

/// What became of the slow readers of a round.
#[derive(Debug, Default)]
struct Fate {
    /// Told that they are slow.
    told: u32,
    /// Cut without a word: they took none.
    cut: u32,
    missed: u32,
    repeated: u32,
}

impl SlowReadersBench {
    /// Rounds with well-behaved and with slow neighbours in turn.
    pub async fn run(&self, pace: Pace) -> anyhow::Result<Report> {
        let half = self.slow_readers_among / 2;
        descriptors(self.slow_readers_among)?;
        let (rounds, alerts) = pace.of((5, RATE * 40), (2, RATE * 20));
        let mut report = Report::new("slow-readers");
        report.setting("subscribers", half * 2);
        report.setting("slow", half);
        report.setting("alerts_per_second", RATE);
        report.setting("alerts_per_round", alerts);
        report.setting("rounds", rounds);
        let flags = ["--alert-window", WINDOW, "--alert-stall-seconds", STALL];
        let mut service = Service::start(half * 2, &flags).await?;
        let (mut well, mut beside_slow, mut ratios, mut fate) = (Vec::new(), Vec::new(), Vec::new(), Fate::default());
        let (mut most_well, mut most_slow, mut buffers) = (0, 0, 0_u64);
        for _ in 0..rounds {
            let neighbours =
                Neighbours::Well(Clients::connect(&service.address, &service.request("HTTP/1.1"), half).await?);
            let good = round(&mut service, neighbours, half, alerts, &mut fate).await?;
            let neighbours = Neighbours::Slow(Slow::connect(&service, half).await?);
            let bad = round(&mut service, neighbours, half, alerts, &mut fate).await?;
            well.push(good.p99);
            beside_slow.push(bad.p99);
            ratios.push(bad.p99 / good.p99);
            most_well = most_well.max(good.resident);
            most_slow = most_slow.max(bad.resident);
            buffers = buffers.max(bad.buffers.saturating_sub(good.buffers));
        }
        service.child.kill().await?;
        let moved = Spread::of(&ratios);
        report.promised(
            "the others' p99 beside slow readers, to that beside good ones",
            moved.median,
            "×",
            Goal::AtMost(1.1),
        );
        report.note(format!("over the rounds {:.2} to {:.2}", moved.least, moved.most));
        report.figure("the others' p99 beside good readers", Spread::of(&well).median, "ms");
        report.figure("the others' p99 beside slow readers", Spread::of(&beside_slow).median, "ms");
        report.figure("most memory beside good readers", most_well as f64 / 1e6, "MB");
        let bound = most_well as f64 / 1e6 + f64::from(half) * PER_SLOW;
        report.promised("most memory beside slow readers", most_slow as f64 / 1e6, "MB", Goal::AtMost(bound));
        report.figure(
            "kernel buffers of slow readers, beyond good ones",
            buffers as f64 / f64::from(half) / 1e3,
            "kB each",
        );
        let slow = f64::from(half) * f64::from(rounds);
        report.promised(
            "slow readers told or cut",
            f64::from(fate.told + fate.cut) / slow,
            "of them",
            Goal::AtLeast(1.0),
        );
        report.figure("of these told", f64::from(fate.told) / slow, "of all slow");
        report.promised("alerts missed after coming back", f64::from(fate.missed), "", Goal::AtMost(0.0));
        report.promised("alerts seen twice", f64::from(fate.repeated), "", Goal::AtMost(0.0));
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
    fate: &mut Fate,
) -> anyhow::Result<Round> {
    let mut timed = Clients::connect(&service.address, &service.request("HTTP/1.1"), half).await?;
    timed.expect(alerts).await?;
    if let Neighbours::Well(clients) = &mut neighbours {
        clients.expect(alerts).await?;
    }
    service.publish(alerts, Duration::from_secs(1) / RATE).await?;
    let heard = timed.heard().await?;
    let (resident, buffers) = (service.child.meter()?.resident()?, socket_buffers());
    match neighbours {
        Neighbours::Well(mut clients) => {
            clients.heard().await?;
            clients.end().await?;
        }
        Neighbours::Slow(slow) => slow.finish(service.published() - 1, fate).await?,
    }
    timed.end().await?;
    Ok(Round { p99: heard.p99, resident, buffers })
}

/// Bytes that the kernel holds for all TCP connections of this machine, as far as it says.
fn socket_buffers() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split(' ').skip_while(|word| *word != "mem");
    words.nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4096
}

/// The process with the slow readers, as its starter sees it.
struct Slow(Child);

/// Carries the request: a token is not for the list of processes.
const REQUEST: &str = "SIGHTLINE_TEST_SSE_REQUEST";

impl Slow {
    async fn connect(service: &Service, readers: u32) -> anyhow::Result<Self> {
        let (readers, first) = (readers.to_string(), service.published().to_string());
        let settings = [(REQUEST, service.request("HTTP/1.0"))];
        let arguments = ["sse-slow", "--address", &service.address, "--readers", &readers, "--first", &first];
        let mut child = Child::part(&arguments, &settings)?;
        child.says("connected").await?;
        Ok(Self(child))
    }

    /// Lets them read to the end and come back for what they missed, up to alert `last`.
    async fn finish(mut self, last: u32, fate: &mut Fate) -> anyhow::Result<()> {
        self.0.tell(&last.to_string()).await?;
        let line = self.0.line().await?;
        let numbers: Vec<u32> = line.split(' ').map(str::parse).collect::<Result<_, _>>().context("four numbers")?;
        let [told, cut, missed, repeated] = numbers[..] else { anyhow::bail!("the slow readers said {line:?}") };
        fate.told += told;
        fate.cut += cut;
        fate.missed += missed;
        fate.repeated += repeated;
        self.0.kill().await
    }
}

/// What the process is started with.
#[derive(Debug, Args)]
pub struct Part {
    /// Where to connect
    #[arg(long)]
    address: std::net::SocketAddr,

    /// How often; every other one takes nothing at all
    #[arg(long)]
    readers: usize,

    /// The first alert that comes
    #[arg(long)]
    first: u32,
}

impl Part {
    /// Reads slowly until it is told the last alert, then all of it.
    pub async fn run(self) -> anyhow::Result<()> {
        let request = std::env::var(REQUEST).with_context(|| format!("{REQUEST} is not set"))?;
        let (hurry, last) = watch::channel(None);
        let mut readers = JoinSet::new();
        for number in 0..self.readers {
            let reader = Reader::connect(self.address, &request).await?;
            readers.spawn(reader.run(number % 2 == 0, last.clone()));
        }
        println!("connected");
        let told = BufReader::new(tokio::io::stdin()).lines().next_line().await?.context("the last alert's number")?;
        let last: u32 = told.parse()?;
        hurry.send_replace(Some(last));
        let mut fate = Fate::default();
        while let Some(ended) = readers.join_next().await {
            let reader = ended??;
            fate.told += u32::from(reader.told);
            fate.cut += u32::from(!reader.told && reader.comebacks > 0);
            let mut numbers = reader.numbers;
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            fate.repeated += u32::try_from(all - numbers.len())?;
            fate.missed += last + 1 - self.first - u32::try_from(numbers.len())?;
        }
        println!("{} {} {} {}", fate.told, fate.cut, fate.missed, fate.repeated);
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
    told: bool,
    comebacks: u32,
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
            told: false,
            comebacks: 0,
        };
        // The answer's head and the first block, one byte after the other: nothing more is taken yet.
        while reader.last_id.is_none() {
            ensure!(reader.sip(1).await?, "the service closed at once");
        }
        Ok(reader)
    }

    async fn run(mut self, sips: bool, mut last: watch::Receiver<Option<u32>>) -> anyhow::Result<Self> {
        let last = loop {
            if let Some(last) = *last.borrow_and_update() {
                break last;
            }
            tokio::select! {
                changed = last.changed() => changed?,
                () = tokio::time::sleep(PAUSE), if sips => drop(self.sip(SIP).await),
            }
        };
        while self.numbers.last() != Some(&last) {
            // An error is a cut too: the service did not wait until everything was taken.
            if !self.sip(4096).await.unwrap_or(false) {
                self.come_back().await?;
            }
        }
        Ok(self)
    }

    /// Takes some bytes; whether there were any.
    async fn sip(&mut self, most: usize) -> anyhow::Result<bool> {
        let mut bytes = vec![0; most];
        let read = self.stream.read(&mut bytes).await?;
        for event in self.parser.feed(bytes.get(..read).unwrap_or_default()) {
            self.told |= event.event == "slow";
            mark::find(event.data.as_bytes(), |mark| self.numbers.push(mark.number));
        }
        if let Some(id) = self.parser.last_id() {
            self.last_id = Some(id.to_owned());
        }
        Ok(read > 0)
    }

    async fn come_back(&mut self) -> anyhow::Result<()> {
        self.comebacks += 1;
        let id = self.last_id.as_deref().context("no id to come back with")?;
        let request = format!("{}Last-Event-ID: {id}\r\n", self.request);
        self.parser = SseParser::default();
        loop {
            self.stream = open(self.address, &request).await?;
            let mut status = [0; 12];
            self.stream.read_exact(&mut status).await?;
            if status.ends_with(b"200") {
                return Ok(());
            }
            // Others are being served from the log: as many as are allowed at once.
            ensure!(status.ends_with(b"503"), "refused: {}", String::from_utf8_lossy(&status));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// By HTTP/1.0, so that the answer's body is the stream itself.
async fn open(address: std::net::SocketAddr, request: &str) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let mut stream = socket.connect(address).await.with_context(|| format!("nobody listens at {address}"))?;
    stream.write_all(format!("{request}\r\n").as_bytes()).await?;
    Ok(stream)
}
