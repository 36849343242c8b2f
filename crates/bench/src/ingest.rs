//! ingest-api on Kafka, compared with the same endpoint in FastAPI with confluent-kafka (`docs/bench/ingest-peer`).
//!
//! Each service runs as one process, publishes to the same topic with `acks=all` and an idempotent producer, and responds with 202 after
//! the broker's acknowledgement. Clients in this process send frames to the services alternately, on persistent connections. Every
//! response must be 202, and in every turn the topic must grow by as many records. The comparison is in requests per second of the
//! service's CPU time, which includes the threads of its Kafka client but not the broker and the clients. ingest-api writes its access
//! log, the peer has none.
//!
//! The number of clients matters: concurrent requests are batched, and waking up for each request costs CPU time. The
//! goal is for 128 clients; 32 clients show the cost of fewer.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bus::{Bus, KafkaBus};
use clap::Args;
use contracts::{TenantId, TopicRole};

use self::clients::{Clients, Target};
use super::RunLength;
use super::child::{ChildProcess, free_port};
use super::namespace::{Servers, TestNamespace};
use super::report::{Goal, Report};
use super::stats::{Spread, Times};

mod clients;

/// Maximum number of image bytes per turn: the broker keeps all of them, about 6 GB in a full run, until the topics are deleted.
const TURN_BYTES: usize = 250_000_000;

/// A load, sent to both services.
struct Load {
    name: &'static str,
    bytes: usize,
    clients: usize,
    /// The goal: requests per CPU-second, as a multiple of the peer's.
    goal: Option<Goal>,
}

const LOADS: [Load; 4] = [
    Load { name: "1 KB", bytes: 1_000, clients: 128, goal: Some(Goal::AtLeast(8.0)) },
    Load { name: "68 KB", bytes: 68_000, clients: 128, goal: Some(Goal::AtLeast(3.5)) },
    Load { name: "1 KB, 32 clients", bytes: 1_000, clients: 32, goal: None },
    Load { name: "68 KB, 32 clients", bytes: 68_000, clients: 32, goal: None },
];

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct IngestBench {
    /// The peer's start script
    #[arg(long, value_name = "PATH", default_value = "docs/bench/ingest-peer/run")]
    ingest_peer: PathBuf,
}

/// Measurement of one turn.
struct Turn {
    accepted: usize,
    took: Duration,
    used: Duration,
    times: Vec<Duration>,
}

/// A service and its measurements.
struct Variant {
    name: &'static str,
    port: u16,
    process: ChildProcess,
    turns: Vec<Turn>,
}

impl IngestBench {
    /// Measures both services alternately, for each load.
    pub async fn run(&self, servers: &Servers, run_length: RunLength) -> anyhow::Result<Report> {
        ensure!(
            self.ingest_peer.exists(),
            "there is no {}: run this in a checkout of Sightline, or set --ingest-peer to its docs/bench/ingest-peer/run",
            self.ingest_peer.display()
        );
        let namespace = TestNamespace::create(servers).await?;
        let measured = Box::pin(self.measure(&namespace, run_length)).await;
        namespace.delete().await?;
        measured
    }

    async fn measure(&self, namespace: &TestNamespace, run_length: RunLength) -> anyhow::Result<Report> {
        let (rounds, length) = run_length.pick((5, Duration::from_secs(4)), (3, Duration::from_secs(2)));
        let mut report = Report::new("ingest");
        report.setting("clients", "128, unless a figure names another number");
        report.setting("rounds", rounds);
        report.setting("seconds_per_turn_at_most", length.as_secs());
        let bus = KafkaBus::connect(namespace.kafka.clone(), &namespace.topics).await?;
        let mut ours = ours(namespace).await?;
        let (mut peer, versions) = peer(&self.ingest_peer, namespace).await?;
        report.setting("peer", versions);
        for load in &LOADS {
            let image = clients::image(load.bytes);
            for _ in 0..rounds {
                for service in [&mut ours, &mut peer] {
                    let target = Target { port: service.port, token: namespace.token.clone(), image: image.clone() };
                    let clients = Clients::connect(target, load.clients).await?;
                    let turn = service.turn(&bus, clients, length).await;
                    turn.with_context(|| format!("{}, {}", service.name, load.name))?;
                }
            }
            load.compare(&ours, &peer, &mut report);
            ours.report(&mut report, load.name);
            peer.report(&mut report, load.name);
        }
        for service in [ours, peer] {
            let peak = service.process.meter()?.peak()? as f64 / f64::from(1 << 20);
            report.figure(format!("{}: most memory", service.name), peak, "MiB");
            service.process.kill().await?;
        }
        bus.close().await?;
        Ok(report)
    }
}

impl Load {
    fn compare(&self, ours: &Variant, peer: &Variant, report: &mut Report) {
        let ratios: Vec<f64> = ours.rates().zip(peer.rates()).map(|(ours, theirs)| ours / theirs).collect();
        let Spread { min, median, max } = Spread::of(&ratios);
        let name = format!("{}: requests per CPU-second, of the peer's", self.name);
        match self.goal {
            Some(goal) => report.with_goal(name, median, "x", goal),
            None => report.figure(name, median, "x"),
        }
        report.figure(format!("{}: the same, least of {} rounds", self.name, ratios.len()), min, "x");
        report.figure(format!("{}: the same, most of {} rounds", self.name, ratios.len()), max, "x");
    }
}

/// Starts ingest-api.
async fn ours(namespace: &TestNamespace) -> anyhow::Result<Variant> {
    let port = free_port()?;
    let settings = namespace
        .settings(&[("SIGHTLINE_HTTP_ADDR", format!("127.0.0.1:{port}")), ("SIGHTLINE_ADMIN_ADDR", "off".to_owned())]);
    let mut process = ChildProcess::service_with_access_log("ingest-api", &settings)?;
    process.wait_until_ready(&format!("http://127.0.0.1:{port}")).await?;
    Ok(Variant { name: "ingest-api", port, process, turns: Vec::new() })
}

/// Starts the peer on the same topic; returns also the versions of its packages. The first start installs them.
async fn peer(program: &Path, namespace: &TestNamespace) -> anyhow::Result<(Variant, String)> {
    let port = free_port()?;
    let settings = [
        ("PEER_PORT", port.to_string()),
        ("PEER_KAFKA_BROKERS", namespace.kafka.brokers.clone()),
        ("PEER_TOPIC", namespace.topics.get(TopicRole::Frames).name.clone()),
        ("PEER_TENANT", TenantId::admin().to_string()),
        ("PEER_TOKEN", namespace.token.clone()),
    ];
    let mut process = ChildProcess::start(program, &[], &settings)?;
    let versions = process.read_line().await?;
    process.wait_until_ready(&format!("http://127.0.0.1:{port}")).await?;
    Ok((Variant { name: "peer", port, process, turns: Vec::new() }, versions))
}

impl Variant {
    async fn turn(&mut self, bus: &KafkaBus, mut clients: Clients, length: Duration) -> anyhow::Result<()> {
        clients.send(length / 4, TURN_BYTES / 4).await?;
        let meter = self.process.meter()?;
        let (before, used, started) = (records(bus).await?, meter.cpu()?, Instant::now());
        let times = clients.send(length, TURN_BYTES).await?;
        let (took, used, accepted) = (started.elapsed(), meter.cpu()? - used, times.len());
        let more = records(bus).await? - before;
        ensure!(more == accepted as i64, "{accepted} requests were accepted and {more} records are on the topic");
        self.turns.push(Turn { accepted, took, used, times });
        Ok(())
    }

    /// Requests per second of processor time, by turn.
    fn rates(&self) -> impl Iterator<Item = f64> {
        self.turns.iter().map(|turn| turn.accepted as f64 / turn.used.as_secs_f64())
    }

    /// Reports the measurements and clears them.
    fn report(&mut self, report: &mut Report, load: &str) {
        let middle = |values: Vec<f64>| Spread::of(&values).median;
        let per_second = |turn: &Turn| turn.accepted as f64 / turn.took.as_secs_f64();
        let mut figure = |what: &str, value, unit| report.figure(format!("{load}: {}, {what}", self.name), value, unit);
        figure("per CPU-second", middle(self.rates().collect()), "requests/CPU-s");
        figure("per second", middle(self.turns.iter().map(per_second).collect()), "requests/s");
        let times: Times = self.turns.drain(..).flat_map(|turn| turn.times).collect();
        figure("p50", times.ms(0.5), "ms");
        figure("p99", times.ms(0.99), "ms");
    }
}

/// Number of records ever written to the topic `frames`.
async fn records(bus: &KafkaBus) -> anyhow::Result<i64> {
    Ok(bus.ranges(TopicRole::Frames).await?.iter().map(|range| range.end).sum())
}
