//! The indexer beside the least that storing its documents can take.
//!
//! A topic is filled with results: every fifth without a detection, two in five with one to three faces and their
//! landmarks, two in five with vehicles; faces and suspicious vehicles raise alerts. Then the `indexer` program is started
//! on it. Beside it, in turns, a bare loop of unordered `insert_many` puts the very documents that the indexer had stored,
//! read back as they are, into a database of the same indexes on the same server with the same write concern, as many at
//! once as the indexer writes. It reads no log, evaluates no rule, publishes no alert and commits nothing.
//!
//! Both are counted from documents to documents, start and joining the group left out. SQLite's store is measured alone: the
//! same results on an embedded log, indexed by the same code in a process of its own.

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

use super::Pace;
use super::child::Child;
use super::ground::{Ground, Servers};
use super::meter::Meter;
use super::report::{Goal, Report};
use super::sending::send_all;
use super::stats::Spread;

pub use bare::BarePart;
pub use embedded::EmbeddedPart;

/// Where documents go.
const COLLECTIONS: [&str; 3] = ["results", "detections", "alerts"];
/// Results that the indexer writes at once where there are enough: its default.
const BATCH: usize = 500;
/// How often it is looked how far the indexer has come.
const LOOK: Duration = Duration::from_millis(20);
/// How long the indexer may stand still.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to measure.
#[derive(Debug, Args)]
pub struct IndexerBench {
    /// Results in each round [default: 60000, or 10000 with --quick]
    #[arg(long, value_name = "NUMBER")]
    indexer_results: Option<usize>,
}

/// What one side did in one round.
#[derive(Debug, Clone, Copy)]
struct Work {
    documents: f64,
    took: Duration,
    /// Of the process that is measured.
    cpu: Duration,
    /// Of the database's server, where it is on this machine.
    server: Option<Duration>,
}

impl Work {
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

/// The sides, by their names in the report.
#[derive(Debug, Default)]
struct Rounds {
    indexer: Vec<Work>,
    in_turn: Vec<Work>,
    side_by_side: Vec<Work>,
    sqlite: Vec<Work>,
    commit: Vec<f64>,
}

impl IndexerBench {
    /// The indexer and the bare loop in turns; SQLite beside them.
    pub async fn run(&self, servers: &Servers, pace: Pace) -> anyhow::Result<Report> {
        let count = self.indexer_results.unwrap_or(pace.of(60_000, 10_000));
        let mut rounds = Rounds::default();
        for number in 0..pace.of(5, 2) {
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
        let ground = Ground::lay(servers).await?;
        let client = Client::with_uri_str(ground.mongodb_uri()).await?;
        let bus = KafkaBus::connect(ground.kafka.clone(), &ground.topics).await?;
        fill(&*bus.producer(), count).await?;
        let (work, commit) = indexed(&ground, &client, &bus, count).await?;
        self.indexer.push(work);
        self.commit.push(commit.as_secs_f64() * 1e3);
        bus.close().await?;
        // Who goes first finds the server less busy with what the indexer left.
        for side_by_side in [!number.is_multiple_of(2), number.is_multiple_of(2)] {
            let work = inserted(&ground, &client, side_by_side).await?;
            if side_by_side { self.side_by_side.push(work) } else { self.in_turn.push(work) }
        }
        ground.clear().await?;
        self.sqlite.push(embedded::measure(count).await?);
        Ok(())
    }

    fn write(&self, report: &mut Report) {
        let sides = [
            ("indexer", &self.indexer),
            ("bare loop, in turn", &self.in_turn),
            ("bare loop, side by side", &self.side_by_side),
            ("indexer on SQLite", &self.sqlite),
        ];
        for (name, works) in sides {
            let spread = |value: &dyn Fn(&Work) -> f64| Spread::of(&works.iter().map(value).collect::<Vec<_>>());
            report.figure(name, spread(&Work::rate).median, "documents/s");
            report.figure(format!("{name}, its own process"), spread(&Work::per_cpu).median, "documents/CPU-s");
            let all: Option<Vec<f64>> = works.iter().map(Work::per_all_cpu).collect();
            if let Some(all) = all {
                report.figure(format!("{name}, with mongod"), Spread::of(&all).median, "documents/CPU-s");
            }
            let points = works.iter().enumerate().map(|(number, work)| (number as f64 + 1.0, work.rate()));
            report.series(name, "round", "documents/s", points.collect());
        }
        self.ratio(report, "indexer / bare loop, in turn", &self.in_turn, &|work| Some(work.rate()), true);
        self.ratio(report, "indexer / bare loop, side by side", &self.side_by_side, &|work| Some(work.rate()), false);
        let all = &Work::per_all_cpu;
        self.ratio(report, "indexer / bare loop, per CPU-second with mongod", &self.side_by_side, all, false);
        report.figure("offsets committed after the last document", Spread::of(&self.commit).median, "ms");
    }

    fn ratio(
        &self,
        report: &mut Report,
        name: &str,
        bare: &[Work],
        value: &dyn Fn(&Work) -> Option<f64>,
        promised: bool,
    ) {
        let ratios = self.indexer.iter().zip(bare).map(|(ours, theirs)| Some(value(ours)? / value(theirs)?));
        let Some(ratios) = ratios.collect::<Option<Vec<f64>>>() else { return };
        let Spread { least, median, most } = Spread::of(&ratios);
        match promised {
            true => report.promised(name, median, "of its documents/s", Goal::AtLeast(0.85)),
            false => report.figure(name, median, "of its documents"),
        }
        report.figure(format!("{name}: least"), least, "");
        report.figure(format!("{name}: most"), most, "");
    }
}

/// Puts the results of a round on the log.
async fn fill(producer: &dyn Producer, count: usize) -> anyhow::Result<()> {
    let results = (0..count).map(|number| Ok(results::result(number)?.to_message()));
    send_all(producer, TopicRole::Results, results).await
}

/// What the indexer's program did from the first documents to the last; and how much later the last offset was committed.
async fn indexed(ground: &Ground, client: &Client, bus: &KafkaBus, count: usize) -> anyhow::Result<(Work, Duration)> {
    let database = client.database(ground.database());
    let server = server(client).await;
    let settings = ground.settings(&[("SIGHTLINE_ADMIN_ADDR", "off".to_owned())]);
    let indexer = Child::service("indexer", &settings)?;
    let meter = indexer.meter()?;
    let wanted = results::Counts::of(count).all();

    let stored = grown(&database, 1).await?;
    let (begun, cpu, server_cpu) = (Instant::now(), meter.cpu()?, server.map(Meter::cpu).transpose()?);
    anyhow::ensure!(stored < wanted / 2, "the indexer was done before it was looked at; use more --indexer-results");
    let all = grown(&database, wanted).await?;
    let (took, cpu) = (begun.elapsed(), meter.cpu()? - cpu);
    let server = server.map(Meter::cpu).transpose()?.zip(server_cpu).map(|(after, before)| after - before);
    anyhow::ensure!(all == wanted, "{all} documents are there where {wanted} should be");

    while bus.oldest_unconsumed(TopicRole::Results, groups::INDEXER).await?.is_some() {
        tokio::time::sleep(LOOK).await;
        anyhow::ensure!(begun.elapsed() < took + PATIENCE, "the indexer commits nothing");
    }
    let commit = begun.elapsed() - took;
    indexer.kill().await?;
    Ok((Work { documents: (wanted - stored) as f64, took, cpu, server }, commit))
}

/// How many documents there are, once there are this many.
async fn grown(database: &Database, wanted: u64) -> anyhow::Result<u64> {
    let (mut last, mut moved) = (0, Instant::now());
    loop {
        let mut there = 0;
        for name in COLLECTIONS {
            there += database.collection::<Document>(name).estimated_document_count().await?;
        }
        if there >= wanted {
            return Ok(there);
        }
        if there > last {
            (last, moved) = (there, Instant::now());
        }
        anyhow::ensure!(moved.elapsed() < PATIENCE, "the indexer stands still at {there} of {wanted} documents");
        tokio::time::sleep(LOOK).await;
    }
}

/// What the bare loop did with the documents that the indexer has stored.
async fn inserted(ground: &Ground, client: &Client, side_by_side: bool) -> anyhow::Result<Work> {
    let (from, into) = (ground.database(), format!("{}-bare", ground.database()));
    // The store makes the collections with their indexes.
    drop(MongoDocuments::connect(ground.mongodb_uri(), Some(&into)).await?);
    let batch = BATCH.to_string();
    let mut arguments = vec!["bare-inserts", "--from", from, "--into", &into, "--results-at-once", &batch];
    if side_by_side {
        arguments.push("--side-by-side");
    }
    let mut part = Child::part(&arguments, &[("SIGHTLINE_MONGODB_URI", ground.mongodb_uri().to_owned())])?;
    let documents: f64 = part.line().await?.parse().context("the bare loop's count")?;
    let (meter, server) = (part.meter()?, server(client).await);
    let (cpu, server_cpu, begun) = (meter.cpu()?, server.map(Meter::cpu).transpose()?, Instant::now());
    part.tell("go").await?;
    part.says("done").await?;
    let (took, cpu) = (begun.elapsed(), meter.cpu()? - cpu);
    let server = server.map(Meter::cpu).transpose()?.zip(server_cpu).map(|(after, before)| after - before);
    part.kill().await?;
    client.database(&into).drop().await?;
    Ok(Work { documents, took, cpu, server })
}

/// Watches the database's server, if it is a process of this machine.
async fn server(client: &Client) -> Option<Meter> {
    let status = client.database("admin").run_command(doc! { "serverStatus": 1 }).await.ok()?;
    let pid = status.get_i64("pid").ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == "mongod").then(|| u32::try_from(pid).ok()).flatten().map(Meter::of)
}
