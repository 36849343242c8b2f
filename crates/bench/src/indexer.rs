//! The indexer, compared with a bare loop that only inserts the same documents.
//!
//! A topic is filled with results: a fifth without a detection, two fifths with one to three faces and landmarks, two fifths with
//! vehicles. Faces and suspicious vehicles raise alerts. Then the `indexer` program consumes it. In alternation with it, a bare loop of
//! unordered `insert_many` writes the documents that the indexer stored into a database with the same indexes, on the same server,
//! with the same write concern and batch size. The loop reads no log, evaluates no rule, publishes no alert and commits nothing.
//!
//! Both are measured from the first to the last document; starting and joining the group are not included. The SQLite store is
//! measured without a comparison: the same code indexes the same results from an embedded log in a child process.

mod bare;
mod embedded;
mod results;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::{Bus, KafkaBus, Producer};
use clap::Args;
use contracts::{Event as _, TopicRole, groups};
use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use store::MongoDocuments;

use super::RunLength;
use super::child::ChildProcess;
use super::meter::Meter;
use super::namespace::{Servers, TestNamespace};
use super::report::{Goal, Report};
use super::sending::send_all;
use super::stats::Spread;

pub use bare::BareInsertsChild;
pub use embedded::EmbeddedIndexerChild;

/// Collections that are written.
const COLLECTIONS: [&str; 3] = ["results", "detections", "alerts"];
/// Results per batch: the indexer's default.
const BATCH: usize = 500;
/// Interval of progress checks.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Time limit without progress.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct IndexerBench {
    /// Results in each round [default: 60000, or 10000 with --quick]
    #[arg(long, value_name = "NUMBER")]
    indexer_results: Option<usize>,
}

/// Measurement of one variant in one round.
#[derive(Debug, Clone, Copy)]
struct Measurement {
    documents: f64,
    took: Duration,
    /// Processor time of the measured process.
    cpu: Duration,
    /// Processor time of the database server, if it runs on this machine.
    server: Option<Duration>,
}

impl Measurement {
    fn rate(&self) -> f64 {
        self.documents / self.took.as_secs_f64()
    }

    fn per_cpu(&self) -> f64 {
        self.documents / self.cpu.as_secs_f64().max(0.01)
    }

    fn per_all_cpu(&self) -> Option<f64> {
        Some(self.documents / (self.cpu + self.server?).as_secs_f64().max(0.01))
    }
}

/// Measurements by variant.
#[derive(Debug, Default)]
struct Rounds {
    indexer: Vec<Measurement>,
    in_turn: Vec<Measurement>,
    side_by_side: Vec<Measurement>,
    sqlite: Vec<Measurement>,
    commit: Vec<f64>,
}

impl IndexerBench {
    /// Measures the indexer and the bare loop in alternation, then SQLite.
    pub async fn run(&self, servers: &Servers, run_length: RunLength) -> anyhow::Result<Report> {
        let count = self.indexer_results.unwrap_or(run_length.pick(60_000, 10_000));
        let mut rounds = Rounds::default();
        for number in 0..run_length.pick(5, 2) {
            rounds.one(servers, count, number).await?;
        }
        let mut report = Report::new("indexer");
        report.setting("results", count);
        report.setting("results_at_once", BATCH);
        report.setting("documents", results::Counts::of(count).all());
        rounds.write(&mut report);
        report.note(
            "in turn: the loop waits for results, then for detections, then for alerts; side by side: for the three of a batch \
             together, which the indexer cannot, for the results decide whose detections count",
        );
        Ok(report)
    }
}

impl Rounds {
    async fn one(&mut self, servers: &Servers, count: usize, number: usize) -> anyhow::Result<()> {
        let namespace = TestNamespace::create(servers).await?;
        let client = Client::with_uri_str(namespace.mongodb_uri()).await?;
        let bus = KafkaBus::connect(namespace.kafka.clone(), &namespace.topics).await?;
        fill(&*bus.producer(), count).await?;
        let (work, commit) = indexed(&namespace, &client, &bus, count).await?;
        self.indexer.push(work);
        self.commit.push(commit.as_secs_f64() * 1e3);
        bus.close().await?;
        // The order alternates, because the server is still busy with the indexer's last writes when the second one runs.
        for side_by_side in [!number.is_multiple_of(2), number.is_multiple_of(2)] {
            let work = inserted(&namespace, &client, side_by_side).await?;
            if side_by_side { self.side_by_side.push(work) } else { self.in_turn.push(work) }
        }
        namespace.delete().await?;
        self.sqlite.push(embedded::measure(count).await?);
        Ok(())
    }

    fn write(&self, report: &mut Report) {
        let variants = [
            ("indexer", &self.indexer),
            ("bare loop, in turn", &self.in_turn),
            ("bare loop, side by side", &self.side_by_side),
            ("indexer on SQLite", &self.sqlite),
        ];
        for (name, works) in variants {
            let spread = |value: &dyn Fn(&Measurement) -> f64| Spread::of(&works.iter().map(value).collect::<Vec<_>>());
            report.figure(name, spread(&Measurement::rate).median, "documents/s");
            report.figure(format!("{name}, its own process"), spread(&Measurement::per_cpu).median, "documents/CPU-s");
            let all: Option<Vec<f64>> = works.iter().map(Measurement::per_all_cpu).collect();
            if let Some(all) = all {
                report.figure(format!("{name}, with mongod"), Spread::of(&all).median, "documents/CPU-s");
            }
            let points = works.iter().enumerate().map(|(number, work)| (number as f64 + 1.0, work.rate()));
            report.series(name, "round", "documents/s", points.collect());
        }
        self.ratio(report, "indexer / bare loop, in turn", &self.in_turn, &|work| Some(work.rate()), true);
        self.ratio(report, "indexer / bare loop, side by side", &self.side_by_side, &|work| Some(work.rate()), false);
        let all = &Measurement::per_all_cpu;
        self.ratio(report, "indexer / bare loop, per CPU-second with mongod", &self.side_by_side, all, false);
        report.figure("offsets committed after the last document", Spread::of(&self.commit).median, "ms");
    }

    fn ratio(
        &self,
        report: &mut Report,
        name: &str,
        bare: &[Measurement],
        value: &dyn Fn(&Measurement) -> Option<f64>,
        has_goal: bool,
    ) {
        let ratios = self.indexer.iter().zip(bare).map(|(ours, theirs)| Some(value(ours)? / value(theirs)?));
        let Some(ratios) = ratios.collect::<Option<Vec<f64>>>() else { return };
        let Spread { min, median, max } = Spread::of(&ratios);
        match has_goal {
            true => report.with_goal(name, median, "of its documents/s", Goal::AtLeast(0.85)),
            false => report.figure(name, median, "of its documents"),
        }
        report.figure(format!("{name}: least"), min, "");
        report.figure(format!("{name}: most"), max, "");
    }
}

/// Fills the topic with the results of a round.
async fn fill(producer: &dyn Producer, count: usize) -> anyhow::Result<()> {
    let results = (0..count).map(|number| Ok(results::result(number)?.to_message()));
    send_all(producer, TopicRole::Results, results).await
}

/// Measures the indexer from the first to the last document, and the time from then to the last commit.
async fn indexed(
    namespace: &TestNamespace,
    client: &Client,
    bus: &KafkaBus,
    count: usize,
) -> anyhow::Result<(Measurement, Duration)> {
    let database = client.database(namespace.database());
    let server = server(client).await;
    let settings = namespace.settings(&[("SIGHTLINE_ADMIN_ADDR", "off".to_owned())]);
    let indexer = ChildProcess::service("indexer", &settings)?;
    let meter = indexer.meter()?;
    let wanted = results::Counts::of(count).all();

    let stored = grown(&database, 1).await?;
    let (started, cpu, server_cpu) = (Instant::now(), meter.cpu()?, server.map(Meter::cpu).transpose()?);
    anyhow::ensure!(
        stored < wanted / 2,
        "the indexer had finished half of the results before the measurement; use more --indexer-results"
    );
    let all = grown(&database, wanted).await?;
    let (took, cpu) = (started.elapsed(), meter.cpu()? - cpu);
    let server = server.map(Meter::cpu).transpose()?.zip(server_cpu).map(|(after, before)| after - before);
    anyhow::ensure!(all == wanted, "there are {all} documents instead of {wanted}");

    while bus.oldest_unconsumed(TopicRole::Results, groups::INDEXER).await?.is_some() {
        tokio::time::sleep(POLL_INTERVAL).await;
        anyhow::ensure!(started.elapsed() < took + TIMEOUT, "the indexer commits nothing");
    }
    let commit = started.elapsed() - took;
    indexer.kill().await?;
    Ok((Measurement { documents: (wanted - stored) as f64, took, cpu, server }, commit))
}

/// Waits for this many documents and returns their number.
async fn grown(database: &Database, wanted: u64) -> anyhow::Result<u64> {
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        let mut stored = 0;
        for name in COLLECTIONS {
            stored += database.collection::<Document>(name).estimated_document_count().await?;
        }
        if stored >= wanted {
            return Ok(stored);
        }
        if stored > last {
            (last, moved) = (stored, Instant::now());
        }
        anyhow::ensure!(moved.elapsed() < TIMEOUT, "the indexer makes no progress at {stored} of {wanted} documents");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Measures the bare loop on the documents that the indexer stored.
async fn inserted(namespace: &TestNamespace, client: &Client, side_by_side: bool) -> anyhow::Result<Measurement> {
    let (from, into) = (namespace.database(), format!("{}-bare", namespace.database()));
    // The store creates the collections and indexes.
    drop(MongoDocuments::connect(namespace.mongodb_uri(), Some(&into)).await?);
    let batch = BATCH.to_string();
    let mut arguments = vec!["bare-inserts", "--from", from, "--into", &into, "--results-at-once", &batch];
    if side_by_side {
        arguments.push("--side-by-side");
    }
    let mut child = ChildProcess::bench(&arguments, &[("SIGHTLINE_MONGODB_URI", namespace.mongodb_uri().to_owned())])?;
    let documents: f64 = child.read_line().await?.parse().context("the bare loop's count")?;
    let (meter, server) = (child.meter()?, server(client).await);
    let (cpu, server_cpu, started) = (meter.cpu()?, server.map(Meter::cpu).transpose()?, Instant::now());
    child.send_line("go").await?;
    child.expect_line("done").await?;
    let (took, cpu) = (started.elapsed(), meter.cpu()? - cpu);
    let server = server.map(Meter::cpu).transpose()?.zip(server_cpu).map(|(after, before)| after - before);
    child.kill().await?;
    client.database(&into).drop().await?;
    Ok(Measurement { documents, took, cpu, server })
}

/// The meter of the database server, if it runs on this machine.
async fn server(client: &Client) -> Option<Meter> {
    let status = client.database("admin").run_command(doc! { "serverStatus": 1 }).await.ok()?;
    let pid = status.get_i64("pid").ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == "mongod").then(|| u32::try_from(pid).ok()).flatten().map(Meter::of)
}
